/** Parts of the nodes' scripts that k3s and kubeadm share. */

/**
 * `look_at_node FOLDER…`: says which boot this is, and what would keep containers from it. The folders are where they are kept: overlayfs
 * takes no upper folder on NFS. `look_at_program FILE`: a program for another machine, by the header of ELF (machine, bytes 18 and 19).
 */
export const LOOK_AT_NODE = `
look_at_node() {
  say bootId "$(cat /proc/sys/kernel/random/boot_id)"
  for folder in "$@"; do
    while [ ! -d "$folder" ]; do folder=\${folder%/*}; [ -n "$folder" ] || folder=/; done
    type=$(stat -f -c %T "$folder")
    case $type in nfs*) say obstacle "storage $type" ;; esac
  done
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    grep -qw memory /sys/fs/cgroup/cgroup.controllers || say obstacle cgroup
  else
    grep -q '^memory[[:space:]].*[[:space:]]1$' /proc/cgroups || say obstacle cgroup
  fi
}
look_at_program() {
  case $(uname -m) in aarch64) wanted=b700 ;; x86_64) wanted=3e00 ;; *) wanted= ;; esac
  [ "$(od -An -N4 -tx1 "$1" | tr -d ' \\n')" = 7f454c46 ] || return 0
  machine=$(od -An -j18 -N2 -tx1 "$1" | tr -d ' \\n')
  [ -z "$wanted" ] || [ "$machine" = "$wanted" ] || say obstacle "architecture ELF machine $machine on $(uname -m)"
}
service_state() {
  case $(systemctl is-active "$1" 2> /dev/null) in active | activating | reloading) echo active ;; *) echo inactive ;; esac
}
`;

/** `check_sum FILE SHA256`. */
export const CHECK_SUM = `
check_sum() {
  [ -f "$1" ] || fail missing "$1 is not there"
  sum=$(sha256sum "$1") || fail checksum "$1 cannot be read"
  [ "\${sum%% *}" = "$2" ] || fail checksum "\${sum%% *} instead of $2"
}
`;

/**
 * What the journal of the service says since it was started, as a word of `problems.ts`, where it does not get better by waiting.
 * `password-refused`, `other-authority` and `token-expired` are words of k3s's agent, the others also of kubelet and kubeadm.
 */
export const NAME_FAILURE = `
name_failure() {
  case $1 in
    *"Node password rejected"* | *"duplicate node name found"*) echo password-refused ;;
    *"CA hash does not match"* | *"cluster CA found in cluster-info ConfigMap is invalid"*) echo other-authority ;;
    *"401 Unauthorized"* | *"not authorized"* | *"token ID"*"is invalid"* | *"could not find a JWS signature"* | *"token has expired"* | *"--token is required"*) echo token-expired ;;
    *"403 Forbidden"*) echo refused ;;
    *"memory cgroup"*) echo cgroup ;;
    *"overlayfs"*"cannot be enabled"* | *"overlayfs"*"not supported"*) echo overlay ;;
    *"unhealthy cluster"* | *"too many learner"* | *"etcdserver: "* | *"etcd cluster is not healthy"*) echo etcd ;;
  esac
}
`;
