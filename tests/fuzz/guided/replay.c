/* In place of libFuzzer: runs a target over files and over all files of folders, each in a block of exactly its size for the
 * sanitizer's sake. What is wrong ends the process, with the file's name as the last line before.
 *
 *   guided_TARGET FILE-OR-FOLDER... */
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>
#include "guided.h"

__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);
static unsigned count;

/* Not image_read(): a target may have another in its place. */
static void run_file(const char *path) {
  FILE *f = fopen(path, "rb");
  uint8_t *bytes = NULL;
  size_t size = 0, n;
  uint8_t part[4096];
  if (!f) exit((perror(path), 1));
  while ((n = fread(part, 1, sizeof part, f)) > 0) {
    bytes = realloc(bytes, size + n);
    if (!bytes) abort();
    memcpy(bytes + size, part, n);
    size += n;
  }
  fclose(f);
  fprintf(stderr, "%s\n", path);
  LLVMFuzzerTestOneInput(bytes ? bytes : (uint8_t *)"", size);
  free(bytes);
  count++;
}

static void run_path(const char *path) {
  DIR *folder = opendir(path);
  if (!folder) {
    if (access(path, F_OK) == 0) run_file(path); /* no folder: nothing is kept for this target */
    return;
  }
  for (struct dirent *e; (e = readdir(folder));) {
    char name[4096];
    if (e->d_name[0] == '.' || snprintf(name, sizeof name, "%s/%s", path, e->d_name) >= (int)sizeof name) continue;
    run_file(name);
  }
  closedir(folder);
}

int main(int argc, char **argv) {
  int out = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (out >= 0) dup2(out, STDOUT_FILENO), close(out); /* -help and its like */
  if (LLVMFuzzerInitialize) LLVMFuzzerInitialize(&argc, &argv);
  LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
  for (int i = 1; i < argc; i++) run_path(argv[i]);
  fprintf(stderr, "%u inputs, none went wrong\n", count);
  return 0;
}
