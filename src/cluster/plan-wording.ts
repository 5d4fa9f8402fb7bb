/** By these words the diagnosis knows problems and warnings of a plan: both sides take them from here. */

export const CANNOT_MOUNT_NFS = "cannot mount a root over NFS";
export const CONFIG_TXT_TOO_LONG = "config.txt is too long";
export const CONFIG_TXT_NOT_ASCII = "config.txt has bytes that are not ASCII";
