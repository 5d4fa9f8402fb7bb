/**
 * Every maximum, each with its reason. A length that comes from outside is compared with one of these
 * before anything is allocated.
 */

/** RFC 2131 allows options to fill a datagram; no client sends more than an Ethernet frame. */
export const DHCP_PACKET_BYTES_MAX = 1500;

/** A firmware path is far shorter; RFC 1350 gives no limit. 512 bytes of name plus options. */
export const TFTP_REQUEST_BYTES_MAX = 1024;

/** RFC 2348. */
export const TFTP_BLOCK_BYTES_MAX = 65464;

/** Transfers at once: 300 nodes with a few probes each. */
export const TFTP_TRANSFERS_MAX = 4096;

/** Largest READ and WRITE payload offered. The Linux client takes up to 1 MiB over TCP. */
export const NFS_TRANSFER_BYTES_MAX = 1024 * 1024;

/** One RPC record: a full WRITE with its headers. */
export const RPC_RECORD_BYTES_MAX = NFS_TRANSFER_BYTES_MAX + 4096;

/** RFC 1813 2.4: a file handle has at most 64 bytes. */
export const NFS_HANDLE_BYTES_MAX = 64;

/** RFC 5531 8.2: credentials have at most 400 bytes; AUTH_SYS at most 16 groups. */
export const RPC_AUTH_BYTES_MAX = 400;

export const FILE_NAME_BYTES_MAX = 255;

/** Linux PATH_MAX less the final NUL. */
export const SYMLINK_BYTES_MAX = 4095;

/** EXT4_MAX_BLOCK_SIZE. */
export const EXT4_BLOCK_BYTES_MAX = 65536;

/** config.txt over the network is read only up to here (firmware issues 1012 and 1575). */
export const CONFIG_TXT_BYTES_MAX = 4096;

/** COMMAND_LINE_SIZE on arm64. */
export const KERNEL_COMMAND_LINE_BYTES_MAX = 2048;

/** A manifest for 1,000 nodes is about 100 KiB. */
export const MANIFEST_BYTES_MAX = 4 * 1024 * 1024;

/** As the kernel's MAXSYMLINKS: a path that goes through more is a loop. */
export const SYMLINKS_FOLLOWED_MAX = 40;

/** A file of an image read whole by the manager: configuration, or at most an uncompressed arm64 kernel. */
export const IMAGE_FILE_BYTES_MAX = 64 * 1024 * 1024;
