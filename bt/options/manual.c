/* bt_manual [--check] PAGE: fills in, or checks, what the manual page says of options. The page is written by hand but for what
 * stands between the lines `.\" OPTIONS`, `.\" DEVICES` or `.\" DIFF` and `.\" END`: that follows from the tables that -help and
 * -device NAME,help print (options.c, devices.c and the devices' own, diff/diff.c). docs/hacking.md says when.
 *
 * The page is in man(7), which groff and mandoc read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../diff/diff.h"
#include "devices.h"
#include "options.h"

enum { PAGE_MAX = 1 << 20 };

typedef bool help_source(unsigned i, struct help_line *line);
static const struct {
  const char *marker;
  help_source *lines;
} sections[] = {
  {".\\\" OPTIONS\n", options_help_line},
  {".\\\" DEVICES\n", devices_help_line},
  {".\\\" DIFF\n", diff_help_line},
};
static const char end_marker[] = ".\\\" END\n";

/* ---- text for groff ---- */

/* A dash that begins a word begins an option's name: typed as it is printed, it must not become a hyphen. So must all of a
 * `literal`. */
static void put_text(FILE *out, const char *text, bool literal) {
  char before = ' ';
  for (const char *c = text; *c; before = *c++) {
    if (*c == '\\') fputs("\\e", out);
    else if (*c == '\'') fputs("\\(aq", out);
    else if (*c == '^') fputs("\\(ha", out);
    else if (*c == '~') fputs("\\(ti", out);
    else if (*c == '|') fputs("|\\:", out); /* a long list of words may be broken here */
    else if (*c == '-' && (literal || !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", before)))
      fputs("\\-", out);
    else if (*c == '.' && c == text) fputs("\\&.", out); /* a line that begins so is a request */
    else fputc(*c, out);
  }
}

static void put_tag(FILE *out, const char *request, const struct help_line *line) {
  fprintf(out, "%s\n\\fB", request);
  put_text(out, line->dashes, true);
  put_text(out, line->name, true);
  fprintf(out, "\\fR%s", line->before);
  if (*line->value) {
    fputs("\\fI", out);
    put_text(out, line->value, true);
    fputs("\\fR", out);
  }
  fprintf(out, "%s\n", line->after);
}

/* Other names of an option stand behind it in the table and above its text on the page. */
static void put_options(FILE *out, help_source *lines) {
  struct help_line line;
  const char *help = NULL;
  for (unsigned i = 0; lines(i, &line); i++) {
    if (help && (line.heading || line.help)) {
      put_text(out, help, false);
      fputc('\n', out);
      help = NULL;
    }
    if (line.heading) {
      fputs(".SS ", out);
      put_text(out, line.heading, false);
      fputc('\n', out);
      continue;
    }
    put_tag(out, line.help ? ".TP" : ".TQ", &line);
    if (line.help) help = line.help;
  }
  if (help) {
    put_text(out, help, false);
    fputc('\n', out);
  }
}

/* ---- the page ---- */

/* The whole page with its sections filled in. False: a section's end is missing, or the section itself. */
static bool fill(FILE *out, const char *page) {
  unsigned found = 0;
  const char *next;
  for (const char *line = page; *line; line = next) {
    next = strchr(line, '\n') ? strchr(line, '\n') + 1 : line + strlen(line);
    fwrite(line, 1, (size_t)(next - line), out);
    for (unsigned i = 0; i < sizeof sections / sizeof sections[0]; i++) {
      if (strncmp(line, sections[i].marker, strlen(sections[i].marker))) continue;
      put_options(out, sections[i].lines);
      if (!(next = strstr(next, end_marker))) return false;
      found++;
    }
  }
  return found == sizeof sections / sizeof sections[0];
}

static char *read_page(const char *path) {
  FILE *f = fopen(path, "r");
  char *text = f ? calloc(1, PAGE_MAX) : NULL;
  if (text && (fread(text, 1, PAGE_MAX, f) == PAGE_MAX || ferror(f))) free(text), text = NULL; /* no page is so long */
  if (f) fclose(f);
  return text;
}

static bool write_page(const char *path, const char *text) {
  FILE *f = fopen(path, "w");
  if (!f) return false;
  bool good = fputs(text, f) >= 0;
  return fclose(f) == 0 && good;
}

/* The first line that differs, for people. */
static int compare(const char *path, const char *is, const char *should) {
  unsigned line = 1;
  while (*is && *is == *should) line += *is == '\n', is++, should++;
  if (!*is && !*should) return 0;
  fprintf(stderr, "bt_manual: line %u of %s is not what the tables of options say: `bt_manual %s` writes it (docs/hacking.md)\n",
          line, path, path);
  return 1;
}

int main(int argc, char **argv) {
  bool check = argc == 3 && !strcmp(argv[1], "--check");
  if (argc != 2 + check) return fputs("usage: bt_manual [--check] PAGE\n", stderr), 1;
  const char *path = argv[argc - 1];
  char *page = read_page(path), *filled = NULL;
  size_t size;
  if (!page) return fprintf(stderr, "bt_manual: %s: %s\n", path, strerror(errno)), 1;
  FILE *out = open_memstream(&filled, &size);
  bool good = out && fill(out, page);
  if (out) good &= fclose(out) == 0;
  int status = 1;
  if (!good)
    fprintf(stderr,
            "bt_manual: %s lacks a section that is to be filled in (`.\\\" OPTIONS`, `.\\\" DEVICES`, `.\\\" DIFF`), or its "
            "`.\\\" END`\n",
            path);
  else if (check) status = compare(path, page, filled);
  else if (write_page(path, filled)) status = 0;
  else fprintf(stderr, "bt_manual: %s: %s\n", path, strerror(errno));
  free(page), free(filled);
  return status;
}
