#define _GNU_SOURCE
#include "operands.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 10
/* Longer contents are written down as their length and a hash. */
#define SHOWN_BYTES_MAX 60

static char written[TEXT_BYTES_MAX];
static int descriptors[DESCRIPTORS_MAX] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1};

void give_up(const char *what, const char *about) {
  fflush(stdout);
  fprintf(stderr, "Cannot run the cases: %s: %s\n", what, about);
  _exit(1);
}

static char *expand(const char *from, char *to, const char *end) {
  while (*from != '\0' && to < end) {
    if (from[0] == '\\' && from[1] == 'x') {
      char digits[3] = {from[2], from[3], '\0'};
      *to++ = (char)strtol(digits, NULL, 16);
      from += 4;
    } else if (*from == '{') {
      char *star;
      long count = strtol(from + 1, &star, 10);
      size_t length = strcspn(star + 1, "}");
      for (; count > 0 && to + length < end; count--) {
        memcpy(to, star + 1, length);
        to += length;
      }
      from = star + 1 + length + 1;
    } else {
      *to++ = *from++;
    }
  }
  *to++ = '\0';
  return to;
}

void parse_line(const char *text, struct line *line) {
  static char copy[TEXT_BYTES_MAX], expanded[4 * TEXT_BYTES_MAX];
  snprintf(copy, sizeof copy, "%s", text);
  char *arrow = strstr(copy, " -> ");
  if (arrow != NULL) *arrow = '\0';
  char *to = expanded;
  line->count = 0;
  for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
    if (line->count == OPERANDS_MAX) give_up("too many operands", text);
    line->operands[line->count++] = to;
    to = expand(word, to, expanded + sizeof expanded - 1);
  }
  for (int rest = line->count; rest < OPERANDS_MAX; rest++) line->operands[rest] = "";
}

long long number(const char *text) {
  char *end;
  long long value = strtoll(text, &end, 0);
  if (*text == '\0' || *end != '\0') give_up("not a number", text);
  return value;
}

mode_t octal(const char *text) {
  char *end;
  long value = strtol(text, &end, 8);
  if (*text == '\0' || *end != '\0') give_up("not an octal number", text);
  return (mode_t)value;
}

void result(const char *format, ...) {
  va_list values;
  va_start(values, format);
  size_t used = strlen(written);
  vsnprintf(written + used, sizeof written - used, format, values);
  va_end(values);
}

void result_call(long long returned) {
  if (returned >= 0) result("ok");
  else result("%s", strerrorname_np(errno));
}

void result_bytes(const unsigned char *bytes, size_t count) {
  if (count > SHOWN_BYTES_MAX) {
    uint32_t hash = 2166136261u;
    for (size_t at = 0; at < count; at++) hash = (hash ^ bytes[at]) * 16777619u;
    result("%zu bytes, hash %08x", count, hash);
    return;
  }
  result("[");
  for (size_t at = 0; at < count; at++) {
    if (bytes[at] > ' ' && bytes[at] < 127) result("%c", bytes[at]);
    else result("\\x%02x", bytes[at]);
  }
  result("]");
}

const char *taken_result(void) {
  static char taken[TEXT_BYTES_MAX];
  memcpy(taken, written, sizeof taken);
  written[0] = '\0';
  return taken;
}

int descriptor(const char *text) {
  long long index = number(text);
  if (index < 0 || index >= DESCRIPTORS_MAX) give_up("no such descriptor", text);
  return descriptors[index];
}

void set_descriptor(const char *text, int fd) {
  descriptor(text);
  descriptors[number(text)] = fd;
}

int status_of(const char *operand, struct stat *status) {
  if (strncmp(operand, "fd:", 3) == 0) return fstat(descriptor(operand + 3), status);
  return lstat(operand, status);
}
