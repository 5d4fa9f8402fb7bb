/** Shell functions that several of the generated scripts have. */

/** Whether something is mounted at the path. */
export const IS_MOUNTED = `is_mounted() {
  while read -r source place rest; do
    [ "$place" = "$1" ] && return 0
  done < /proc/mounts
  return 1
}`;
