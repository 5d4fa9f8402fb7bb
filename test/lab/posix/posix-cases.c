/*
 * Runs the cases of *.cases: each line is a system call, and its result is written down. What the results should be,
 * this program does not know: they are compared between file systems by the test that runs it.
 *
 * usage: posix-cases prepare|act|whole FOLDER CASES...
 *   prepare: makes each case's folder in FOLDER and runs its lines before "---"
 *   act:     runs the lines after "---" of the cases that were prepared
 *   whole:   both in turn; cases without "---" are run only so
 * Prints CASE.LINE, a tab, and the result. A case runs in a process of its own, as root, with umask 0.
 *
 *   posix-cases identity: prints the effective user and group, for set-id cases.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "operands.h"
#include "operations.h"

#define LINES_MAX 80
#define CASE_TIMEOUT_S 120

struct test_case {
  int number;
  int count;
  int prepared; /* lines before "---"; -1 when there is no such line */
  char *lines[LINES_MAX];
};

static void run_lines(const struct test_case *test, int from, int to) {
  for (int index = from; index < to; index++) {
    struct line line;
    parse_line(test->lines[index], &line);
    operate(&line);
    printf("%d.%d\t%s\n", test->number, index + 1, taken_result());
    fflush(stdout);
  }
}

static void run_case(const struct test_case *test, const char *mode, const char *folder) {
  int isPrepared = test->prepared >= 0;
  if (strcmp(mode, "whole") != 0 && !isPrepared) return;
  fflush(stdout);
  pid_t child = fork();
  if (child != 0) {
    int status;
    waitpid(child, &status, 0);
    if (status != 0) printf("%d.0\tended with status %d\n", test->number, status);
    return;
  }
  char path[64];
  snprintf(path, sizeof path, "case%d", test->number);
  umask(0);
  alarm(CASE_TIMEOUT_S);
  if (chdir(folder) != 0) give_up("no folder", folder);
  if (strcmp(mode, "act") != 0 && mkdir(path, 0755) != 0) give_up("cannot make the case's folder", path);
  if (chdir(path) != 0) give_up("no folder for the case", path);
  if (strcmp(mode, "act") != 0 && isPrepared) run_lines(test, 0, test->prepared);
  if (strcmp(mode, "prepare") != 0) run_lines(test, isPrepared ? test->prepared + 1 : 0, test->count);
  fflush(stdout);
  _exit(0); /* not exit(), which would turn back the file that the parent reads */
}

/* A case begins at "# " with its name; empty lines and lines of one more "#" are for the reader. */
static void run_file(FILE *file, const char *mode, const char *folder) {
  static int number;
  static char text[TEXT_BYTES_MAX];
  struct test_case test = {0};
  test.prepared = -1;
  for (;;) {
    char *read = fgets(text, sizeof text, file);
    if (read == NULL || strncmp(text, "# ", 2) == 0) {
      if (test.number > 0) run_case(&test, mode, folder);
      for (int index = 0; index < test.count; index++) free(test.lines[index]);
      test = (struct test_case){.number = ++number, .prepared = -1};
      if (read == NULL) break;
      continue;
    }
    text[strcspn(text, "\n")] = '\0';
    if (text[0] == '\0' || text[0] == '#') continue;
    if (strcmp(text, "---") == 0) test.prepared = test.count;
    if (test.count == LINES_MAX) give_up("too many lines in a case", text);
    test.lines[test.count++] = strdup(text);
  }
  number--;
}

int main(int count, char **words) {
  if (count == 2 && strcmp(words[1], "identity") == 0) {
    printf("%d:%d", geteuid(), getegid());
    return 0;
  }
  if (count < 4) give_up("usage", "posix-cases prepare|act|whole FOLDER CASES...");
  for (int index = 3; index < count; index++) {
    FILE *file = fopen(words[index], "r");
    if (file == NULL) give_up("cannot open", words[index]);
    run_file(file, words[1], words[2]);
    fclose(file);
  }
  return 0;
}
