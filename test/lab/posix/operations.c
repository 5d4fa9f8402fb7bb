#define _GNU_SOURCE
#include "operations.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* Longer than a tick of the kernel's coarse clock, which file times are taken from. */
#define TICK_NS 12000000
#define REMEMBERED_MAX 8
#define COPY_BYTES 65536

typedef char *const *Operands;

static struct remembered {
  char name[256];
  struct stat status;
} remembered[REMEMBERED_MAX];

static struct stat *remembered_as(const char *name) {
  for (int index = 0; index < REMEMBERED_MAX; index++) {
    struct remembered *slot = &remembered[index];
    if (slot->name[0] == '\0') snprintf(slot->name, sizeof slot->name, "%s", name);
    if (strcmp(slot->name, name) == 0) return &slot->status;
  }
  give_up("too many files to remember", name);
}

static const struct { const char *name; int flag; } OPEN_FLAGS[] = {
  {"read", O_RDONLY}, {"write", O_WRONLY}, {"both", O_RDWR}, {"create", O_CREAT}, {"excl", O_EXCL},
  {"trunc", O_TRUNC}, {"append", O_APPEND}, {"directory", O_DIRECTORY}, {"nofollow", O_NOFOLLOW},
  {"sync", O_SYNC}, {"path", O_PATH}, {"tmpfile", O_TMPFILE}, {"nonblock", O_NONBLOCK}, {"direct", O_DIRECT},
};

static const struct { const char *name; int flag; } FALLOCATE_FLAGS[] = {
  {"plain", 0}, {"keep", FALLOC_FL_KEEP_SIZE}, {"punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE},
  {"zero", FALLOC_FL_ZERO_RANGE}, {"collapse", FALLOC_FL_COLLAPSE_RANGE},
};

/* "create+excl+write" */
static int open_flags(const char *text) {
  char copy[128];
  int flags = 0;
  snprintf(copy, sizeof copy, "%s", text);
  for (char *word = strtok(copy, "+"); word != NULL; word = strtok(NULL, "+")) {
    size_t index = 0;
    while (index < sizeof OPEN_FLAGS / sizeof *OPEN_FLAGS && strcmp(OPEN_FLAGS[index].name, word) != 0) index++;
    if (index == sizeof OPEN_FLAGS / sizeof *OPEN_FLAGS) give_up("no such open flag", word);
    flags |= OPEN_FLAGS[index].flag;
  }
  return flags;
}

static int fallocate_flags(const char *text) {
  for (size_t index = 0; index < sizeof FALLOCATE_FLAGS / sizeof *FALLOCATE_FLAGS; index++)
    if (strcmp(FALLOCATE_FLAGS[index].name, text) == 0) return FALLOCATE_FLAGS[index].flag;
  give_up("no such fallocate flag", text);
}

static int whence(const char *text) {
  if (strcmp(text, "set") == 0) return SEEK_SET;
  if (strcmp(text, "cur") == 0) return SEEK_CUR;
  if (strcmp(text, "end") == 0) return SEEK_END;
  if (strcmp(text, "data") == 0) return SEEK_DATA;
  if (strcmp(text, "hole") == 0) return SEEK_HOLE;
  give_up("no such whence", text);
}

/* Opens, writes and closes; the first failure is the result. */
static void write_file(const char *path, int flags, mode_t mode, long long offset, const char *text) {
  int fd = open(path, flags, mode);
  if (fd < 0) return result_call(fd);
  size_t length = strlen(text);
  long long count = length == 0 ? 0 : offset < 0 ? write(fd, text, length) : pwrite(fd, text, length, offset);
  int error = errno;
  int closed = close(fd);
  if (count < 0) errno = error;
  result_call(count < 0 ? count : closed);
}

static void cat(const char *path) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) return result_call(fd);
  struct stat status;
  fstat(fd, &status);
  size_t size = (size_t)status.st_size + 1, used = 0;
  unsigned char *bytes = malloc(size);
  ssize_t count;
  while ((count = read(fd, bytes + used, size - used)) > 0) used += (size_t)count;
  if (count < 0) result_call(count);
  else result_bytes(bytes, used);
  free(bytes);
  close(fd);
}

static void read_some(int fd, long long count, long long offset) {
  unsigned char *bytes = malloc((size_t)count + 1);
  ssize_t got = offset < 0 ? read(fd, bytes, (size_t)count) : pread(fd, bytes, (size_t)count, offset);
  if (got < 0) result_call(got);
  else result_bytes(bytes, (size_t)got);
  free(bytes);
}

static const char *type_name(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "directory";
    case S_IFLNK: return "symlink";
    case S_IFCHR: return "character";
    case S_IFBLK: return "block";
    case S_IFIFO: return "fifo";
    case S_IFSOCK: return "socket";
  }
  return "unknown";
}

/* A directory's size is the file system's own business. */
static void show_status(const struct stat *status) {
  result("%s %04o links %lu owner %u:%u", type_name(status->st_mode), status->st_mode & 07777,
         (unsigned long)status->st_nlink, status->st_uid, status->st_gid);
  if (S_ISCHR(status->st_mode) || S_ISBLK(status->st_mode))
    result(" device %u:%u", major(status->st_rdev), minor(status->st_rdev));
  else if (!S_ISDIR(status->st_mode)) result(" size %lld", (long long)status->st_size);
}

static void show_field(const char *field, const char *path) {
  struct stat status;
  if (status_of(path, &status) != 0) return result_call(-1);
  if (strcmp(field, "lstat") == 0) show_status(&status);
  else if (strcmp(field, "size") == 0) result("%lld", (long long)status.st_size);
  else if (strcmp(field, "mode") == 0) result("%04o", status.st_mode & 07777);
  else if (strcmp(field, "links") == 0) result("%lu", (unsigned long)status.st_nlink);
  else if (strcmp(field, "owner") == 0) result("%u:%u", status.st_uid, status.st_gid);
  else if (strcmp(field, "atime") == 0) result("%lld.%09ld", (long long)status.st_atim.tv_sec, status.st_atim.tv_nsec);
  else if (strcmp(field, "mtime") == 0) result("%lld.%09ld", (long long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

static char time_letter(struct timespec before, struct timespec after, char letter) {
  if (before.tv_sec == after.tv_sec && before.tv_nsec == after.tv_nsec) return '\0';
  int isEarlier = after.tv_sec < before.tv_sec || (after.tv_sec == before.tv_sec && after.tv_nsec < before.tv_nsec);
  return isEarlier ? (char)(letter - 'a' + 'A') : letter;
}

/* Which of atime, mtime and ctime are others than remembered; a capital for one that went back. */
static void show_changed(const char *path, const char *name) {
  struct stat after;
  if (status_of(path, &after) != 0) return result_call(-1);
  const struct stat *before = remembered_as(name[0] != '\0' ? name : path);
  char letters[] = {time_letter(before->st_atim, after.st_atim, 'a'), time_letter(before->st_mtim, after.st_mtim, 'm'),
                    time_letter(before->st_ctim, after.st_ctim, 'c')};
  result("changed:");
  for (int index = 0; index < 3; index++) if (letters[index] != '\0') result(" %ctime", letters[index]);
}

/* "now", "omit" or SECONDS.NANOSECONDS */
static struct timespec time_operand(const char *text) {
  if (strcmp(text, "now") == 0) return (struct timespec){0, UTIME_NOW};
  if (strcmp(text, "omit") == 0) return (struct timespec){0, UTIME_OMIT};
  char *point;
  long long seconds = strtoll(text, &point, 10);
  return (struct timespec){seconds, *point == '.' ? strtol(point + 1, NULL, 10) : 0};
}

static void become(Operands o) {
  gid_t groups[OPERANDS_MAX];
  size_t count = 0;
  while (o[2 + count][0] != '\0') {
    groups[count] = (gid_t)number(o[2 + count]);
    count++;
  }
  if (seteuid(0) != 0 || setgroups(count, groups) != 0 || setegid((gid_t)number(o[1])) != 0 ||
      seteuid((uid_t)number(o[0])) != 0)
    give_up("cannot become user", o[0]);
}

static void make_special(Operands o) {
  const char *type = o[1];
  mode_t kind = strcmp(type, "fifo") == 0        ? S_IFIFO
                : strcmp(type, "socket") == 0    ? S_IFSOCK
                : strcmp(type, "block") == 0     ? S_IFBLK
                : strcmp(type, "character") == 0 ? S_IFCHR
                                                 : S_IFREG;
  dev_t device = o[3][0] != '\0' ? makedev((unsigned)number(o[3]), (unsigned)number(o[4])) : 0;
  result_call(mknod(o[0], kind | octal(o[2]), device));
}

static void bind_socket(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  result_call(bind(fd, (struct sockaddr *)&address, sizeof address));
  close(fd);
}

static void execute(const char *path) {
  int ends[2];
  if (pipe(ends) != 0) give_up("no pipe", path);
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 1);
    execl(path, path, "identity", (char *)NULL);
    dprintf(1, "%s", strerrorname_np(errno));
    _exit(0);
  }
  close(ends[1]);
  char text[64] = "";
  ssize_t count = read(ends[0], text, sizeof text - 1);
  close(ends[0]);
  waitpid(child, NULL, 0);
  result("%s", count > 0 ? text : "nothing");
}

/* A copy of this program. */
static void install(const char *path, mode_t mode) {
  static char bytes[COPY_BYTES];
  int from = open("/proc/self/exe", O_RDONLY);
  int to = open(path, O_CREAT | O_EXCL | O_WRONLY, mode);
  ssize_t count;
  while (to >= 0 && (count = read(from, bytes, sizeof bytes)) > 0)
    if (write(to, bytes, (size_t)count) != count) give_up("cannot write the program", path);
  close(from);
  result_call(to < 0 ? to : close(to));
}

static void map_file(const char *word, Operands o) {
  int isWrite = strcmp(word, "mapwrite") == 0;
  long long offset = number(o[1]);
  size_t length = isWrite ? strlen(o[2]) : (size_t)number(o[2]);
  long page = sysconf(_SC_PAGESIZE);
  off_t start = offset / page * page;
  int protection = isWrite ? PROT_READ | PROT_WRITE : PROT_READ;
  size_t mapped = length + (size_t)(offset - start);
  char *memory = mmap(NULL, mapped, protection, MAP_SHARED, descriptor(o[0]), start);
  if (memory == MAP_FAILED) return result_call(-1);
  if (isWrite) {
    memcpy(memory + (offset - start), o[2], length);
    result_call(msync(memory, mapped, MS_SYNC));
  } else {
    result_bytes((unsigned char *)memory + (offset - start), length);
  }
  munmap(memory, mapped);
}

static void show_same(const char *one, const char *other) {
  struct stat a, b;
  if (status_of(one, &a) != 0 || status_of(other, &b) != 0) return result_call(-1);
  result(a.st_ino == b.st_ino && a.st_dev == b.st_dev ? "same" : "different");
}

static void show_file_system(const char *path) {
  struct statvfs space;
  if (statvfs(path, &space) != 0) return result_call(-1);
  int isSane = space.f_bfree <= space.f_blocks && space.f_bavail <= space.f_bfree && space.f_ffree <= space.f_files;
  result("names %lu, %s%s", space.f_namemax, space.f_blocks > 0 ? "has blocks, " : "", isSane ? "sane" : "not sane");
}

static void show_limits(const char *path) {
  result("names %ld, no truncation %ld, chown restricted %ld", pathconf(path, _PC_NAME_MAX),
         pathconf(path, _PC_NO_TRUNC), pathconf(path, _PC_CHOWN_RESTRICTED));
}

static void rename_with(Operands o) {
  unsigned flag = strcmp(o[2], "noreplace") == 0 ? RENAME_NOREPLACE
                  : strcmp(o[2], "exchange") == 0 ? RENAME_EXCHANGE
                                                  : RENAME_WHITEOUT;
  result_call(renameat2(AT_FDCWD, o[0], AT_FDCWD, o[1], flag));
}

static int access_mode(const char *letters) {
  return (strchr(letters, 'r') ? R_OK : 0) | (strchr(letters, 'w') ? W_OK : 0) | (strchr(letters, 'x') ? X_OK : 0);
}

static void pause_tick(void) {
  struct timespec tick = {0, TICK_NS};
  nanosleep(&tick, NULL);
}

static void utimens(Operands o, int flags) {
  struct timespec times[2] = {time_operand(o[1]), time_operand(o[2])};
  if (strncmp(o[0], "fd:", 3) == 0) result_call(futimens(descriptor(o[0] + 3), times));
  else result_call(utimensat(AT_FDCWD, o[0], times, flags));
}

static void open_as(Operands o) {
  int fd = open(o[1], open_flags(o[2]), o[3][0] != '\0' ? octal(o[3]) : 0);
  set_descriptor(o[0], fd);
  result_call(fd);
}

static void extended(const char *word, Operands o) {
  char value[256];
  if (strcmp(word, "setxattr") == 0) return result_call(setxattr(o[0], o[1], o[2], strlen(o[2]), 0));
  ssize_t count = getxattr(o[0], o[1], value, sizeof value);
  if (count < 0) result_call(count);
  else result_bytes((unsigned char *)value, (size_t)count);
}

static void copy_range(Operands o) {
  loff_t from = number(o[1]), to = number(o[3]);
  ssize_t count = copy_file_range(descriptor(o[0]), &from, descriptor(o[2]), &to, (size_t)number(o[4]), 0);
  if (count < 0) result_call(count);
  else result("%zd", count);
}

static void target_of(const char *path) {
  unsigned char target[TEXT_BYTES_MAX];
  ssize_t count = readlink(path, (char *)target, sizeof target);
  if (count < 0) result_call(count);
  else result_bytes(target, (size_t)count);
}

static void show_number(long long value) {
  if (value < 0) result_call(value);
  else result("%lld", value);
}

static void status_through(const char *path) {
  struct stat status;
  if (stat(path, &status) != 0) result_call(-1);
  else show_status(&status);
}

static int operate_on_descriptor(const char *word, Operands o) {
#define IS(name) (strcmp(word, name) == 0)
  if (IS("open")) open_as(o);
  else if (IS("close")) result_call(close(descriptor(o[0])));
  else if (IS("write")) show_number(write(descriptor(o[0]), o[1], strlen(o[1])));
  else if (IS("pwrite")) show_number(pwrite(descriptor(o[0]), o[2], strlen(o[2]), number(o[1])));
  else if (IS("read")) read_some(descriptor(o[0]), number(o[1]), -1);
  else if (IS("pread")) read_some(descriptor(o[0]), number(o[2]), number(o[1]));
  else if (IS("lseek")) show_number(lseek(descriptor(o[0]), number(o[1]), whence(o[2])));
  else if (IS("ftruncate")) result_call(ftruncate(descriptor(o[0]), number(o[1])));
  else if (IS("fsync")) result_call(fsync(descriptor(o[0])));
  else if (IS("fdatasync")) result_call(fdatasync(descriptor(o[0])));
  else if (IS("fchmod")) result_call(fchmod(descriptor(o[0]), octal(o[1])));
  else if (IS("fchown")) result_call(fchown(descriptor(o[0]), (uid_t)number(o[1]), (gid_t)number(o[2])));
  else if (IS("fallocate"))
    result_call(fallocate(descriptor(o[0]), fallocate_flags(o[1]), number(o[2]), number(o[3])));
  else if (IS("flock")) result_call(flock(descriptor(o[0]), LOCK_EX | LOCK_NB));
  else if (IS("copyrange")) copy_range(o);
  else if (IS("mapwrite") || IS("mapread")) map_file(word, o);
  else return 0;
  return 1;
}

static int operate_on_attributes(const char *word, Operands o) {
  if (IS("chmod")) result_call(chmod(o[0], octal(o[1])));
  else if (IS("chown")) result_call(chown(o[0], (uid_t)number(o[1]), (gid_t)number(o[2])));
  else if (IS("lchown")) result_call(lchown(o[0], (uid_t)number(o[1]), (gid_t)number(o[2])));
  else if (IS("utimens")) utimens(o, 0);
  else if (IS("lutimens")) utimens(o, AT_SYMLINK_NOFOLLOW);
  else if (IS("utimenull")) result_call(utimensat(AT_FDCWD, o[0], NULL, 0));
  else if (IS("access")) result_call(faccessat(AT_FDCWD, o[0], access_mode(o[1]), AT_EACCESS));
  else if (IS("setxattr") || IS("getxattr")) extended(word, o);
  else if (IS("stat")) status_through(o[0]);
  else if (IS("same")) show_same(o[0], o[1]);
  else if (IS("remember")) result_call(status_of(o[0], remembered_as(o[1][0] != '\0' ? o[1] : o[0])));
  else if (IS("changed")) show_changed(o[0], o[1]);
  else if (IS("statfs")) show_file_system(o[0]);
  else if (IS("pathconf")) show_limits(o[0]);
  else if (IS("lstat") || IS("size") || IS("mode") || IS("links") || IS("owner") || IS("atime") || IS("mtime"))
    show_field(word, o[0]);
  else return 0;
  return 1;
}

static int operate_on_names(const char *word, Operands o) {
  if (IS("mkdir")) result_call(mkdir(o[0], octal(o[1])));
  else if (IS("rmdir")) result_call(rmdir(o[0]));
  else if (IS("unlink")) result_call(unlink(o[0]));
  else if (IS("file")) write_file(o[0], O_CREAT | O_EXCL | O_WRONLY, octal(o[1]), 0, o[2]);
  else if (IS("append")) write_file(o[0], O_WRONLY | O_APPEND, 0, -1, o[1]);
  else if (IS("put")) write_file(o[0], O_WRONLY, 0, number(o[1]), o[2]);
  else if (IS("truncate")) result_call(truncate(o[0], number(o[1])));
  else if (IS("cat")) cat(o[0]);
  else if (IS("rename")) result_call(rename(o[0], o[1]));
  else if (IS("rename2")) rename_with(o);
  else if (IS("link")) result_call(link(o[0], o[1]));
  else if (IS("linkfollow")) result_call(linkat(AT_FDCWD, o[0], AT_FDCWD, o[1], AT_SYMLINK_FOLLOW));
  else if (IS("linkfd")) result_call(linkat(descriptor(o[0]), "", AT_FDCWD, o[1], AT_EMPTY_PATH));
  else if (IS("symlink")) result_call(symlink(o[0], o[1]));
  else if (IS("readlink")) target_of(o[0]);
  else if (IS("mknod")) make_special(o);
  else if (IS("bind")) bind_socket(o[0]);
  else return 0;
  return 1;
}

static int operate_on_process(const char *word, Operands o) {
  if (IS("user")) become(o);
  else if (IS("root")) { if (seteuid(0) != 0 || setegid(0) != 0 || setgroups(0, NULL) != 0) give_up("not root", ""); }
  else if (IS("umask")) umask(octal(o[0]));
  else if (IS("tick")) pause_tick();
  else if (IS("chdir")) result_call(chdir(o[0]));
  else if (IS("exec")) execute(o[0]);
  else if (IS("install")) install(o[0], octal(o[1]));
  else return 0;
  return 1;
}

void operate(const struct line *line) {
  const char *word = line->operands[0];
  Operands o = line->operands + 1;
  if (operate_on_names(word, o) || operate_on_descriptor(word, o) || operate_on_attributes(word, o) ||
      operate_on_process(word, o) || operate_on_listing(word, o))
    return;
  give_up("no such operation", word);
}
