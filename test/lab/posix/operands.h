/* What a case's line is made of, and how a system call's result is written down. */
#ifndef OPERANDS_H
#define OPERANDS_H

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define OPERANDS_MAX 24
#define TEXT_BYTES_MAX 8192

struct line {
  int count;
  char *operands[OPERANDS_MAX];
};

/* Splits at spaces and expands \xHH and {COUNT*TEXT}. Stops at " -> ", where what is expected begins. */
void parse_line(const char *text, struct line *line);

long long number(const char *text);
mode_t octal(const char *text);

/* A line's result: "ok", an error's name, or what was seen. */
void result(const char *format, ...) __attribute__((format(printf, 1, 2)));
void result_call(long long returned);
void result_bytes(const unsigned char *bytes, size_t count);
const char *taken_result(void);

/* What is wrong with the cases themselves ends the program. */
void give_up(const char *what, const char *about) __attribute__((noreturn));

/* lstat, or fstat of "fd:N". */
int status_of(const char *operand, struct stat *status);
int descriptor(const char *number);
void set_descriptor(const char *number, int fd);

#endif
