/**
 * Every maximum, each with its reason. A length that comes from outside is compared with one of these
 * before anything is allocated.
 */

/** RFC 2131 allows options to fill a datagram; no client sends more than an Ethernet frame. */
export const DHCP_PACKET_BYTES_MAX = 1500;

/** Addresses asked for by ARP at once, and results of that remembered: four racks of clients that arrive together. */
export const DHCP_CHECKED_ADDRESSES_MAX = 1024;

/** A range is looked through for a free address; this takes some milliseconds at worst. */
export const DHCP_RANGE_ADDRESSES_MAX = 65_536;

/** A firmware path is far shorter; RFC 1350 gives no limit. 512 bytes of name plus options. */
export const TFTP_REQUEST_BYTES_MAX = 1024;

/** RFC 2348. */
export const TFTP_BLOCK_BYTES_MAX = 65464;

/** Transfers at once: 300 nodes with a few probes each. */
export const TFTP_TRANSFERS_MAX = 4096;

/** Transfers of one client address: a Pi runs one or two; behind NAT, or in a lab, several share an address. */
export const TFTP_TRANSFERS_PER_CLIENT_MAX = 256;

export const TFTP_PATH_BYTES_MAX = 512;

/** RFC 7440: a sender keeps a whole window for retransmission. */
export const TFTP_WINDOW_BLOCKS_MAX = 64;

/** 64 Ethernet frames; with TFTP_TRANSFERS_MAX this bounds what all windows together can take. */
export const TFTP_WINDOW_BYTES_MAX = 64 * 1468;

/** Read of a file at a time, for the blocks that come next: 22 of 1468 bytes. */
export const TFTP_READ_AHEAD_BYTES = 32 * 1024;

/** Above this, a transfer has memory for the blocks of one window only: 512 transfers have theirs. */
export const TFTP_READ_AHEAD_BYTES_MAX = 512 * TFTP_READ_AHEAD_BYTES;

/** Largest READ and WRITE payload offered. The Linux client takes up to 1 MiB over TCP. */
export const NFS_TRANSFER_BYTES_MAX = 1024 * 1024;

/** One RPC record: a full WRITE with its headers. */
export const RPC_RECORD_BYTES_MAX = NFS_TRANSFER_BYTES_MAX + 4096;

/** RFC 1813 2.4: a file handle has at most 64 bytes. */
export const NFS_HANDLE_BYTES_MAX = 64;

/** RFC 5531 8.2: credentials have at most 400 bytes; AUTH_SYS at most 16 groups. */
export const RPC_AUTH_BYTES_MAX = 400;

/** RFC 5531 8.2: `machinename<255>` and `gids<16>` of AUTH_SYS. */
export const RPC_MACHINE_NAME_BYTES_MAX = 255;
export const RPC_GROUPS_MAX = 16;

/** RFC 1813 5.1: `MNTPATHLEN`. */
export const MOUNT_PATH_BYTES_MAX = 1024;

/** Mounts remembered for `showmount`: 300 nodes with two trees each. They are a courtesy, not a state. */
export const MOUNT_TABLE_ENTRIES_MAX = 1024;

/** Calls of one connection that are under way at once. A Linux client may send more (65,536): those wait in its socket. */
export const NFS_CALLS_IN_FLIGHT_MAX = 128;

/** What those calls and their answers may occupy: eight full READs or WRITEs. */
export const NFS_BYTES_IN_FLIGHT_MAX = 8 * NFS_TRANSFER_BYTES_MAX;

/** Calls remembered on disk for each tree: twice those of a connection that are under way at once. */
export const DONE_CALLS_PER_LAYER_MAX = 256;

/** Of one address: a Linux client has one for each server, 16 with `nconnect`, and dead ones after a power cut. */
export const NFS_CONNECTIONS_PER_CLIENT_MAX = 256;

/** Of all: 1,000 nodes with some to spare. */
export const NFS_CONNECTIONS_MAX = 4096;

/** Connections that came before nodes are served: two for each of hundreds of nodes. */
export const NFS_CONNECTIONS_WAITING_MAX = 1024;

/** A record of a client that has no tree: a MOUNT or GETPORT call, which it may be refused. */
export const RPC_STRANGER_RECORD_BYTES_MAX = 4096;

/** A peer that began a record, or has replies to read, and for a minute did neither: 1 MiB at 18 KB/s takes as long. */
export const NFS_CONNECTION_CHECK_MS = 10_000;
export const NFS_CONNECTION_STALLED_CHECKS_MAX = 6;

/** What calls under way and replies not yet read may occupy in all connections; beyond it each has one call at a time. */
export const NFS_BYTES_HELD_MAX = 256 * 1024 * 1024;

/** Answers are handed to the socket when this much has been gathered. Larger batches only cost copies. */
export const NFS_REPLY_BATCH_BYTES = 64 * 1024;

/** READs from this size on are sent from the page cache. Two more system calls for each take as long as copying some KiB. */
export const NFS_SEND_FILE_BYTES_MIN = 32 * 1024;

/** Entries asked of a volume in one go; a 1 MiB READDIRPLUS holds about 6,000. */
export const NFS_LISTING_ENTRIES_MAX = 8192;

/** Answers kept for repeated calls: for each client twice what a connection has under way, for 300 nodes and their neighbours. */
export const NFS_DUPLICATE_CALLS_PER_CLIENT_MAX = 256;
export const NFS_DUPLICATE_CLIENTS_MAX = 1024;

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

/** What a request to the manager holds: at most the few short values of one node. */
export const API_BODY_BYTES_MAX = 64 * 1024;

/** As the kernel's MAXSYMLINKS: a path that goes through more is a loop. */
export const SYMLINKS_FOLLOWED_MAX = 40;

/** A file of an image read whole by the manager: configuration, or at most an uncompressed arm64 kernel. */
export const IMAGE_FILE_BYTES_MAX = 64 * 1024 * 1024;

/** Linux numbers the partitions of a disk up to 255 (DISK_MAX_PARTS is 256). */
export const LOGICAL_PARTITIONS_MAX = 251;

/** The usual table has 128 entries of 128 bytes: 16 KiB. */
export const GPT_ENTRIES_BYTES_MAX = 1024 * 1024;

/** The most a virtual Pi takes as one boot file. Real kernels and initramfs stay below 64 MiB; the boot loader has its own, unpublished limit. */
export const FIRMWARE_FILE_BYTES_MAX = 256 * 1024 * 1024;

/** 16 million clusters of FAT32; a boot partition has some 100,000. */
export const FAT_TABLE_BYTES_MAX = 64 * 1024 * 1024;

/** FAT specification 6.1: 65,536 entries of 32 bytes. */
export const FAT_DIRECTORY_BYTES_MAX = 2 * 1024 * 1024;

/** All files of a FAT volume are indexed when it is opened; a boot partition has some 500. */
export const FAT_FILES_MAX = 250_000;

/** 128 TiB in groups of 128 MiB: far above any image, and 24 MiB of tables. */
export const EXT4_GROUPS_MAX = 1024 * 1024;

/** ext4 blocks kept after reading: the inode tables and directories that a boot walks through. */
export const EXT4_METADATA_CACHE_BYTES = 1024 * 1024;

/** Runs of one file: a 4 GiB file with no two blocks side by side. */
export const EXT4_FILE_RUNS_MAX = 1024 * 1024;

/** Files of one run kept over all read lately, 24 bytes each; and as many runs of other files. */
export const EXT4_RUNS_CACHED_MAX = 256 * 1024;

/** Directory entries kept over all directories looked into lately, about 100 bytes each. Layers keep their own listings. */
export const EXT4_ENTRIES_CACHED_MAX = 4 * 1024;

/** A directory is held whole: at about 100 bytes an entry, a million are 100 MB. A root file system has thousands. */
export const EXT4_DIRECTORY_ENTRIES_MAX = 1024 * 1024;

/** A million entries with the longest names. */
export const EXT4_DIRECTORY_BYTES_MAX = 264 * EXT4_DIRECTORY_ENTRIES_MAX;

/** XATTR_SIZE_MAX of Linux. */
export const EXTENDED_ATTRIBUTE_BYTES_MAX = 65536;

/** A 64-bit kernel with everything built in, unpacked, is about 60 MiB. */
export const KERNEL_BYTES_MAX = 256 * 1024 * 1024;

/** Text files of an image that are read whole: /etc/passwd, os-release, kernel configurations (300 KiB). */
export const IMAGE_TEXT_BYTES_MAX = 2 * 1024 * 1024;

/** A kernel's lists of its modules, one at a time: Debian's are below 1 MiB, and grow with every driver. */
export const MODULE_LIST_BYTES_MAX = 16 * 1024 * 1024;

/** Keys of the key-value store: a prefix, a directory id and a folded file name. LMDB takes 1978. */
export const KEY_BYTES_MAX = 1978;

/** A journal of the key-value store is read whole when it is replayed. Ours have 768 KiB. */
export const JOURNAL_BYTES_MAX = 64 * 1024 * 1024;

/** `durability: async`: for so long a change may be answered and not be on its way to the disk yet. */
export const LATE_COMMIT_MS = 1000;

/** So many changes of a layer may be answered and not durable; then they wait for the disk. */
export const LATE_CHANGES_MAX = 10_000;

/** So many bytes of changes wait for others to share their commit, and no more. */
export const LATE_COMMIT_BYTES_MAX = 4 * 1024 * 1024;

/** A file of a node up to this size lives in its record, a larger one in a data file: most files of a system are smaller. */
export const INLINE_CONTENT_BYTES_MAX = 4096;

/** Paths that generated layers add to an image: ids kept free between those of the image and those of the nodes. */
export const GENERATED_PATHS_MAX = 65536;

/** A zip with an image holds the image and a few notes; NOOBS has some 500 files. */
export const ZIP_ENTRIES_MAX = 10_000;

/** A disk image larger than any SD card is a decompression bomb: it would fill the disk, or hash zeros for ever. */
export const IMAGE_BYTES_MAX = 2 ** 40;

/** ext4's own limit (EXT4_LINK_MAX). */
export const LINKS_MAX = 65000;

/** The largest file ext4 holds: one block of 4 KiB less than 16 TiB. Offsets stay exact as numbers. */
export const FILE_BYTES_MAX = 16 * 2 ** 40 - 4096;

/** Transfers kept for a boot's timeline: a Pi 4 fetches about 30 files. */
export const STATUS_FILES_MAX = 100;

/** Other DHCP servers remembered: one too many is what is wrong, and forged ones could be any number. */
export const OTHER_SERVERS_MAX = 16;

/** Strangers remembered for adoption. */
export const UNKNOWN_PIS_MAX = 256;

/** Nodes of a manifest to which strangers are added by themselves: anybody on the network can pretend to be many. */
export const ADOPTED_NODES_DEFAULT = 64;
export const ADOPTED_NODES_MAX = 1000;

/** Answers kept about an image while plans are made: paths asked for, and the size of a file worth keeping. */
export const REMEMBERED_PATHS_MAX = 4096;
export const REMEMBERED_FILE_BYTES_MAX = 64 * 1024;

/** Frozen layers of a tree, and so snapshots of a node that were ever kept: an index goes over all when a tree is opened. */
export const LAYERS_PER_TREE_MAX = 256;

/** How far the path of a file is looked for, to be shown: up so many directories, through so many names in them. */
export const PATH_CLIMB_DIRECTORIES_MAX = 64;
export const PATH_CLIMB_ENTRIES_MAX = 20_000;

/** Netconsole: Linux sends at most 1000 bytes of a line at once. */
export const CONSOLE_LINE_BYTES_MAX = 1024;

/**
 * Lines of one node at once, and each second after that: a kernel sends its whole log, some 1000 lines, when its
 * netconsole begins. All senders that are no nodes together have as much as one node.
 */
export const CONSOLE_BURST_LINES = 2000;
export const CONSOLE_LINES_PER_S = 50;

/** Senders of which the beginning of a line is remembered. */
export const CONSOLE_SENDERS_MAX = 1024;

/** Packets kept for `bramble capture`: of one node or stranger, and of all, in each process that sees some. */
export const CAPTURE_BYTES_PER_OWNER_MAX = 256 * 1024;
export const CAPTURE_BYTES_MAX = 16 * 1024 * 1024;
export const CAPTURE_OWNERS_MAX = 1024;

/** What a script on a node may say: a list of a few hundred members of a cluster with all that is known of them, several times over. */
export const SHELL_OUTPUT_BYTES_MAX = 4 * 1024 * 1024;

/** Scripts on nodes at a time: each is a process of ssh with a few MB. */
export const SHELLS_MAX = 16;

/** Nodes that Ansible works on at the same time: each is a process of some 50 MB on the manager, which may be a Pi. */
export const CONFIGURE_FORKS = 8;

/** A run of Ansible that takes longer hangs: updates of a whole system take a Pi some twenty minutes. */
export const CONFIGURE_RUN_MS_MAX = 2 * 3_600_000;

/** What is kept of the words of ansible-playbook, to say why it ended early. */
export const ANSIBLE_OUTPUT_BYTES_MAX = 16 * 1024;
