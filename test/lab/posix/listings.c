/* Reading directories, above all while they change. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "operations.h"

#define NAMES_MAX 200000

static int is_dots(const char *name) {
  return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int compare(const void *one, const void *other) {
  return strcmp(*(char *const *)one, *(char *const *)other);
}

static void list(const char *path) {
  static char *names[1024];
  DIR *directory = opendir(path);
  if (directory == NULL) return result_call(-1);
  size_t count = 0;
  for (struct dirent *entry; (entry = readdir(directory)) != NULL && count < 1024;)
    if (!is_dots(entry->d_name)) names[count++] = strdup(entry->d_name);
  closedir(directory);
  qsort(names, count, sizeof *names, compare);
  result("{");
  for (size_t index = 0; index < count; index++) {
    result(index > 0 ? " " : "");
    result_bytes((unsigned char *)names[index], strlen(names[index]));
    free(names[index]);
  }
  result("}");
}

/* fNUMBER, and what it may be. */
static void entry_path(char *path, size_t size, const char *folder, const char *prefix, long long number) {
  snprintf(path, size, "%s/%s%lld", folder, prefix, number);
}

static void make_many(const char *folder, const char *prefix, long long count) {
  char path[512];
  for (long long index = 0; index < count; index++) {
    entry_path(path, sizeof path, folder, prefix, index);
    if (mknod(path, S_IFREG | 0644, 0) != 0) return result_call(-1);
  }
  result("ok");
}

enum change { NOTHING, REMOVE_SEEN, REMOVE_OTHERS, ADD, RENAME_SEEN };

static void change_directory(enum change change, const char *folder, const char *name, long long step) {
  char path[512], other[512];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  if (change == REMOVE_SEEN) unlink(path);
  if (change == REMOVE_OTHERS) {
    entry_path(other, sizeof other, folder, "gone", step);
    unlink(other);
  }
  if (change == ADD) {
    entry_path(other, sizeof other, folder, "added", step);
    mknod(other, S_IFREG | 0644, 0);
  }
  if (change == RENAME_SEEN && name[0] == 'f') {
    snprintf(other, sizeof other, "%s/r%s", folder, name + 1);
    rename(path, other);
  }
}

/* Reads a directory and changes it after every `every`th entry: names that stay must be seen exactly once. */
static void walk(const char *folder, enum change change, long long every) {
  static unsigned char seen[NAMES_MAX];
  memset(seen, 0, sizeof seen);
  DIR *directory = opendir(folder);
  if (directory == NULL) return result_call(-1);
  long long once = 0, again = 0, dots = 0, step = 0;
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    char name[256];
    snprintf(name, sizeof name, "%s", entry->d_name);
    if (is_dots(name)) dots++;
    long number = name[0] == 'f' ? atol(name + 1) : -1;
    if (number >= 0 && number < NAMES_MAX && seen[number]++ == 0) once++;
    else if (number >= 0) again++;
    if (change != NOTHING && !is_dots(name) && ++step % every == 0) change_directory(change, folder, name, step / every);
  }
  closedir(directory);
  result("%lld once, %lld again, %lld dots", once, again, dots);
}

static void count_entries(const char *folder) {
  DIR *directory = opendir(folder);
  if (directory == NULL) return result_call(-1);
  long long count = 0;
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  result("%lld", count - 2);
}

/* From a place that was told, the same entries follow as at first; from the start, all of them. */
static void seek_back(const char *folder, long long after) {
  static char first[256], second[256];
  DIR *directory = opendir(folder);
  if (directory == NULL) return result_call(-1);
  for (long long index = 0; index < after; index++) readdir(directory);
  long place = telldir(directory);
  struct dirent *entry = readdir(directory);
  snprintf(first, sizeof first, "%s", entry == NULL ? "" : entry->d_name);
  while (readdir(directory) != NULL) continue;
  seekdir(directory, place);
  entry = readdir(directory);
  snprintf(second, sizeof second, "%s", entry == NULL ? "" : entry->d_name);
  long long rest = 1;
  while (readdir(directory) != NULL) rest++;
  rewinddir(directory);
  long long all = 0;
  while (readdir(directory) != NULL) all++;
  closedir(directory);
  result("%s, %lld of %lld follow", strcmp(first, second) == 0 ? "the same" : "another", rest, all);
}

int operate_on_listing(const char *word, char *const *o) {
  if (strcmp(word, "list") == 0) list(o[0]);
  else if (strcmp(word, "many") == 0) make_many(o[0], o[1], number(o[2]));
  else if (strcmp(word, "count") == 0) count_entries(o[0]);
  else if (strcmp(word, "walk") == 0) walk(o[0], NOTHING, 1);
  else if (strcmp(word, "walkremove") == 0) walk(o[0], REMOVE_SEEN, number(o[1]));
  else if (strcmp(word, "walkothers") == 0) walk(o[0], REMOVE_OTHERS, number(o[1]));
  else if (strcmp(word, "walkadd") == 0) walk(o[0], ADD, number(o[1]));
  else if (strcmp(word, "walkrename") == 0) walk(o[0], RENAME_SEEN, number(o[1]));
  else if (strcmp(word, "seekback") == 0) seek_back(o[0], number(o[1]));
  else return 0;
  return 1;
}
