// Images that others serve: formats by qemu-nbd, folders by nbdkit, NBD URIs; what happens when the server goes, when it does not
// answer, when bt is killed. Run only this: build/unit/test_block_servers. Without qemu-utils and nbdkit there is nothing to
// test.
// link: bt_program
// timeout: 180
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "block_rig.h"

static void run(const char *format, ...) {
  char command[512];
  va_list args;
  va_start(args, format);
  vsnprintf(command, sizeof command, format, args);
  va_end(args);
  if (system(command)) fail_msg("%s", command);
}
static void need(const char *program) {
  char command[128];
  snprintf(command, sizeof command, "command -v %s >/dev/null", program);
  if (system(command)) skip();
}

/* SIZE bytes whose words are their numbers, in that format: "file=PATH,TEXT". */
static void open_format(struct disk *d, const char *format, const char *text) {
  char raw[64], whole[256], error[ERROR_TEXT];
  *d = (struct disk){0};
  make_file(raw);
  snprintf(d->path, sizeof d->path, "%.40s.%.20s", raw, format);
  run("qemu-img convert -f raw -O %s %s %s", format, raw, d->path);
  unlink(raw);
  snprintf(whole, sizeof whole, "file=%s,%s", d->path, text);
  if (!try_drive(d, whole, error)) fail_msg("%s: %s", format, error);
}

/* The first process whose command line has `text` in it, a server of ours; 0: there is none. */
static pid_t find_process(const char *text) {
  DIR *all = opendir("/proc");
  pid_t found = 0;
  for (struct dirent *e; !found && (e = readdir(all));) {
    char path[300], line[4096] = "";
    snprintf(path, sizeof path, "/proc/%s/cmdline", e->d_name);
    FILE *f = atoi(e->d_name) && atoi(e->d_name) != getpid() ? fopen(path, "r") : NULL;
    size_t n = f ? fread(line, 1, sizeof line - 1, f) : 0;
    for (size_t i = 0; i < n; i++)
      if (!line[i]) line[i] = ' ';
    if (f) fclose(f);
    if (strstr(line, text) && (strstr(line, "qemu-nbd") || strstr(line, "nbdkit")) && !strstr(line, "sh -c"))
      found = atoi(e->d_name);
  }
  closedir(all);
  return found;
}
static bool is_gone(const char *text) {
  for (int i = 0; i < 25000; i++) {
    if (!find_process(text)) return true;
    nap();
  }
  return false;
}

static void reads_and_writes(struct disk *d) {
  static uint32_t words[SIZE / 4], there[SIZE / 4];
  static struct block_request r[64];
  static struct block_piece pieces[64][3];
  assert_true(d->b->present && d->b->size >= SIZE);
  assert_int_equal(simple(d, BLOCK_READ, 0, words, SIZE), 0);
  for (unsigned i = 0; i < SIZE / 4; i++) assert_int_equal(words[i], i);
  d->done = 0;
  for (unsigned i = 0; i < 64; i++) { /* all at once, in pieces */
    uint8_t *bytes = (uint8_t *)words + i * 8192;
    memset(bytes, (int)i + 1, 4096);
    pieces[i][0] = (struct block_piece){bytes, 100}, pieces[i][1] = (struct block_piece){bytes + 100, 3000};
    pieces[i][2] = (struct block_piece){bytes + 3100, 996};
    r[i] = (struct block_request){.operation = BLOCK_WRITE,
                                  .at = i * 8192,
                                  .size = 4096,
                                  .pieces = pieces[i],
                                  .piece_count = 3,
                                  .fua = i % 2,
                                  .done = note_done,
                                  .opaque = d};
    block_submit(d->b, &r[i]);
  }
  wait_done(d, 64);
  struct block_request flush = {.operation = BLOCK_FLUSH};
  assert_int_equal(carry_out(d, &flush), 0);
  assert_int_equal(simple(d, BLOCK_READ, 0, there, SIZE), 0);
  assert_memory_equal(there, words, SIZE);
}

static void formats_of_others(void **state) {
  need("qemu-nbd"), need("qemu-img");
  static const char *const formats[] = {"qcow2", "vmdk", "vdi", "vpc", "vhdx", "parallels", "qed", "qcow"};
  for (unsigned i = 0; i < sizeof formats / sizeof formats[0]; i++) {
    struct disk d;
    char path[64];
    bool writable = strcmp(formats[i], "parallels"); /* qemu-nbd 7.2 can write them, slowly */
    open_format(&d, formats[i], writable ? "werror=stop" : "readonly=on");
    assert_string_equal(block_drive_info(d.drive).format, formats[i]);
    if (writable) reads_and_writes(&d);
    snprintf(path, sizeof path, "%s", d.path);
    assert_true(find_process(path) > 0);
    close_drive(&d);
    assert_int_equal(find_process(path), 0); /* it has ended before */
    run("qemu-img info %s >/dev/null", path);
    if (!strcmp(formats[i], "qcow2")) run("qemu-img check -q %s", path);
    unlink(path);
  }
}

static void a_snapshot_of_a_qcow2_leaves_it_alone(void **state) {
  need("qemu-nbd");
  struct disk d;
  open_format(&d, "qcow2", "snapshot=on");
  char sum[256];
  snprintf(sum, sizeof sum, "%s.before", d.path);
  run("cp %s %s", d.path, sum);
  reads_and_writes(&d);
  run("cmp %s %s", d.path, sum);
  unlink(sum);
  close_disk(&d);
}

static void expect_refusal(const char *text, const char *says) {
  struct disk d = {0};
  char error[ERROR_TEXT] = "";
  if (try_drive(&d, text, error) || !strstr(error, says)) fail_msg("%s: '%s', not '%s'", text, error, says);
  assert_null(strchr(error, '\n'));
  close_drive(&d);
}

static void servers_say_what_is_wrong(void **state) {
  need("qemu-nbd");
  struct disk d;
  char text[200], path[64];
  make_file(path);
  snprintf(text, sizeof text, "file=%s,format=qcow2", path);
  expect_refusal(text, "not in qcow2 format");
  unlink(path);
  expect_refusal(text, "No such file");
  expect_refusal("file=nbd://127.0.0.1:1/x", "refused");
  expect_refusal("file=nbd:unix:/nonexistent/socket", "No such file");
  expect_refusal("file=nonsense://x", "nonsense");
  open_format(&d, "qcow2", "format=qcow2");
  snprintf(text, sizeof text, "file=%s", d.path);
  expect_refusal(text, "lock"); /* two machines on one image */
  close_drive(&d);
  assert_int_equal(truncate(d.path, 100), 0);
  expect_refusal(text, "qemu-nbd");
  unlink(d.path);
}

/* What begins as an image of some format and goes on as nothing: refused in one line, or a disk some of whose sectors cannot be
 * read. */
static void images_that_are_broken(void **state) {
  need("qemu-nbd"), need("qemu-img");
  static const char *const formats[] = {"qcow2", "vmdk", "vdi", "vpc", "vhdx", "parallels", "qed", "qcow"};
  unsigned seed = 20261129;
  for (unsigned i = 0; i < 48; i++) {
    struct disk d;
    char text[128], error[ERROR_TEXT] = "";
    static uint8_t bytes[65536];
    open_format(&d, formats[i % 8], "readonly=on");
    close_drive(&d);
    int fd = open(d.path, O_RDWR);
    for (unsigned k = 0; k < 1 + i / 8 * 4; k++) { /* more and more of its beginning is damaged */
      uint32_t junk = (uint32_t)rand_r(&seed) * 2654435761u;
      assert_int_equal(pwrite(fd, &junk, 1 + rand_r(&seed) % 4, 8 + rand_r(&seed) % (k % 2 ? 200000 : 600)) > 0, 1);
    }
    if (i % 5 == 4) assert_int_equal(ftruncate(fd, rand_r(&seed) % 100000), 0);
    close(fd);
    d.entries = NULL, d.done = 0;
    snprintf(text, sizeof text, "file=%s,snapshot=on", d.path);
    if (try_drive(&d, text, error)) {
      for (uint64_t at = 0; at + sizeof bytes <= d.b->size && at < SIZE; at += sizeof bytes) {
        int result = simple(&d, BLOCK_READ, at, bytes, sizeof bytes);
        assert_true(result == 0 || result == EIO);
        result = simple(&d, BLOCK_WRITE, at, bytes, 512);
        assert_int_equal(result, 0);
      }
    } else assert_true(*error && !strchr(error, '\n'));
    close_disk(&d);
  }
}

static void a_missing_program_is_named_with_its_package(void **state) {
  char path[64], text[200], *before = strdup(getenv("PATH"));
  make_file(path);
  snprintf(text, sizeof text, "file=%s,format=vdi", path);
  setenv("PATH", "/nonexistent", 1);
  expect_refusal(text, "this needs qemu-nbd, which is not there (Debian's package qemu-utils)");
  expect_refusal("file=fat:/tmp", "Debian's package nbdkit");
  expect_refusal("file=https://example.invalid/x", "Debian's package nbdkit");
  setenv("PATH", before, 1);
  free(before);
  unlink(path);
}

static void a_folder_is_a_disk(void **state) {
  need("nbdkit");
  struct disk d = {0};
  char folder[] = "/tmp/bt-fat-XXXXXX", text[128], error[ERROR_TEXT];
  static uint8_t bytes[1 << 20];
  assert_non_null(mkdtemp(folder));
  run("echo 'the quick brown fox' >%s/FOX.TXT", folder);
  snprintf(text, sizeof text, "file=fat:%s", folder);
  if (!try_drive(&d, text, error)) fail_msg("%s", error);
  assert_int_equal(simple(&d, BLOCK_READ, 0, bytes, 512), 0);
  assert_true(bytes[510] == 0x55 && bytes[511] == 0xaa && !d.b->read_only);
  bool found = false;
  assert_true(d.b->size >= UINT64_C(1) << 31); /* a FAT32 that DOS takes for one */
  for (uint64_t at = 0; at < 16 << 20 && !found; at += sizeof bytes) {
    assert_int_equal(simple(&d, BLOCK_READ, at, bytes, sizeof bytes), 0);
    found = memmem(bytes, sizeof bytes, "the quick brown fox", 19);
  }
  assert_true(found);
  memset(bytes, 0x11, 512);
  assert_int_equal(simple(&d, BLOCK_WRITE, 512, bytes, 512), 0); /* kept until the end */
  close_drive(&d);
  assert_true(is_gone(folder));
  run("rm -r %s", folder);
}

/* ---- somebody else's server ---- */

static pid_t start_server(const char *socket, const char *image) {
  pid_t pid = fork();
  if (!pid) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("qemu-nbd", "qemu-nbd", "-k", socket, "-f", "raw", "-x", "disk", "--persistent", "--shared=8", image, NULL);
    _exit(127);
  }
  for (int i = 0; i < 25000 && access(socket, F_OK); i++) nap();
  return pid;
}

static void an_export_by_its_uri(void **state) {
  need("qemu-nbd");
  struct disk d = {0};
  char socket[80], text[200], error[ERROR_TEXT];
  make_file(d.path);
  snprintf(socket, sizeof socket, "%s.socket", d.path);
  pid_t pid = start_server(socket, d.path);
  snprintf(text, sizeof text, "file=nbd+unix:///disk?socket=%s", socket);
  if (!try_drive(&d, text, error)) fail_msg("%s", error);
  reads_and_writes(&d);
  kill(pid, SIGKILL), waitpid(pid, NULL, 0); /* the network is gone */
  uint8_t bytes[512];
  assert_int_equal(simple(&d, BLOCK_READ, 0, bytes, 512), EIO);
  assert_int_equal(simple(&d, BLOCK_READ, 0, bytes, 512), EIO);
  unlink(socket);
  pid = start_server(socket, d.path); /* and comes back */
  int result = EIO;
  for (unsigned i = 0; i < 10000 && result; i++)
    nap(), result = simple(&d, BLOCK_READ, 0, bytes, 512); /* not before it listens */
  assert_int_equal(result, 0);
  close_drive(&d);
  d.entries = NULL;
  snprintf(text, sizeof text, "file=nbd:unix:%s:exportname=disk,readonly=on", socket);
  if (!try_drive(&d, text, error)) fail_msg("%s", error);
  assert_int_equal(simple(&d, BLOCK_READ, 0, bytes, 512), 0);
  close_drive(&d);
  d.drive = NULL, d.entries = NULL;
  snprintf(text, sizeof text, "file=nbd:unix:%s:exportname=tape", socket);
  expect_refusal(text, "tape");
  kill(pid, SIGKILL), waitpid(pid, NULL, 0);
  unlink(socket), unlink(d.path);
}

/* ---- servers that go ---- */

static void a_server_that_dies_is_an_error(void **state) {
  need("qemu-nbd");
  struct disk d;
  uint8_t bytes[512];
  open_format(&d, "qcow2", "werror=report");
  assert_int_equal(simple(&d, BLOCK_READ, 0, bytes, 512), 0);
  pid_t pid = find_process(d.path);
  assert_true(pid > 0);
  kill(pid, SIGKILL);
  assert_true(is_gone(d.path));
  for (unsigned i = 0; i < 6; i++) assert_int_equal(simple(&d, i % 2 ? BLOCK_READ : BLOCK_WRITE, 0, bytes, 512), EIO);
  struct block_request flush = {.operation = BLOCK_FLUSH};
  assert_int_equal(carry_out(&d, &flush), EIO);
  close_disk(&d);
}

static void the_end_does_not_wait_for_a_server_that_is_stuck(void **state) {
  need("qemu-nbd");
  struct disk d;
  uint8_t bytes[512];
  struct block_piece piece = {bytes, 512};
  static struct block_request r[6];
  open_format(&d, "qcow2", "format=qcow2");
  pid_t pid = find_process(d.path);
  kill(pid, SIGSTOP);
  for (unsigned i = 0; i < 6; i++) {
    r[i] = (struct block_request){
      .operation = BLOCK_READ, .size = 512, .pieces = &piece, .piece_count = 1, .done = note_done, .opaque = &d};
    block_submit(d.b, &r[i]);
  }
  nap(), post_run(&d.posts);
  assert_int_equal(d.done, 0);
  loop_stop(d.loop);
  int64_t begun = loop_now();
  block_drive_settle(d.drive, 500000000);
  assert_true(loop_now() - begun < INT64_C(5000000000));
  post_run(&d.posts);
  assert_true(d.done == 6 && d.error == EIO);
  kill(pid, SIGCONT);
  close_disk(&d);
}

/* ---- kill -9 ---- */

static void what_was_flushed_into_a_qcow2_survives_kill_9(void **state) {
  need("qemu-nbd"), need("qemu-img");
  for (unsigned round = 0; round < 5; round++) {
    struct disk d;
    int tell[2];
    uint32_t last = 0, told;
    open_format(&d, "qcow2", "format=qcow2");
    close_drive(&d);
    assert_int_equal(pipe(tell), 0);
    pid_t pid = fork();
    if (!pid) {
      char text[160], error[ERROR_TEXT];
      close(tell[0]);
      d.entries = NULL, d.drive = NULL;
      snprintf(text, sizeof text, "file=%s", d.path);
      if (!try_drive(&d, text, error)) _exit(1);
      for (uint32_t i = 1;; i++) {
        uint32_t sector[128];
        struct block_request flush = {.operation = BLOCK_FLUSH};
        for (unsigned k = 0; k < 128; k++) sector[k] = i * 1000 + k;
        if (simple(&d, BLOCK_WRITE, i % 1000 * 1024, sector, 512) || carry_out(&d, &flush) || write(tell[1], &i, 4) != 4)
          _exit(1);
      }
    }
    close(tell[1]);
    while (last < 5 + 7 * round && read(tell[0], &told, 4) == 4) last = told;
    kill(pid, SIGKILL);
    while (read(tell[0], &told, 4) == 4) last = told;
    waitpid(pid, NULL, 0);
    assert_true(last >= 5);
    assert_true(is_gone(d.path)); /* the server went with it, and its lock */
    run("qemu-img check -q %s", d.path);
    run("qemu-img convert -f qcow2 -O raw %s %s.raw", d.path, d.path);
    char raw[80];
    snprintf(raw, sizeof raw, "%s.raw", d.path);
    int fd = open(raw, O_RDONLY);
    for (uint32_t i = last > 999 ? last - 999 : 1; i <= last; i++) {
      uint32_t sector[128];
      assert_int_equal(pread(fd, sector, 512, i % 1000 * 1024), 512);
      for (unsigned k = 0; k < 128; k++) assert_true(sector[k] == i * 1000 + k || sector[k] == (i + 1000) * 1000 + k);
    }
    close(fd), close(tell[0]);
    unlink(raw), unlink(d.path);
  }
}

/* QEMU and bt keep each other out, whoever comes first. */
static void qemu_and_we_keep_each_other_out(void **state) {
  need("qemu-io");
  struct disk d;
  char command[256];
  open_disk(&d, "format=raw");
  snprintf(command, sizeof command, "qemu-io -f raw -c 'write 0 512' %s 2>&1 | grep -q 'Failed to get \"write\" lock'", d.path);
  run("%s", command);
  close_drive(&d);
  int in[2], out[2];
  assert_int_equal(pipe(in) | pipe(out), 0);
  pid_t pid = fork();
  if (!pid) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(in[0], 0), dup2(out[1], 1);
    close(in[1]), close(out[0]);
    execlp("qemu-io", "qemu-io", "-f", "raw", d.path, NULL);
    _exit(127);
  }
  close(in[0]), close(out[1]);
  char answer[64], text[128];
  assert_int_equal(write(in[1], "length\n", 7), 7);
  assert_true(read(out[0], answer, sizeof answer) > 0); /* it has it open */
  snprintf(text, sizeof text, "file=%s,format=raw", d.path);
  expect_refusal(text, "Is another process using the image?");
  snprintf(text, sizeof text, "file=%s,format=raw,snapshot=on", d.path);
  expect_refusal(text, "Failed to get shared \"write\" lock");
  close(in[1]), close(out[0]);
  waitpid(pid, NULL, 0);
  unlink(d.path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(formats_of_others),
    cmocka_unit_test(a_snapshot_of_a_qcow2_leaves_it_alone),
    cmocka_unit_test(servers_say_what_is_wrong),
    cmocka_unit_test(images_that_are_broken),
    cmocka_unit_test(a_missing_program_is_named_with_its_package),
    cmocka_unit_test(a_folder_is_a_disk),
    cmocka_unit_test(an_export_by_its_uri),
    cmocka_unit_test(a_server_that_dies_is_an_error),
    cmocka_unit_test(the_end_does_not_wait_for_a_server_that_is_stuck),
    cmocka_unit_test(what_was_flushed_into_a_qcow2_survives_kill_9),
    cmocka_unit_test(qemu_and_we_keep_each_other_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
