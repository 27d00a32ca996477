/* Programs that serve an image over NBD: qemu-nbd for formats of others, nbdkit for what is no image. bt starts one for an image,
 * on a socket that nobody else finds, and ends it with the image.
 *
 * The socket is made here and handed over as systemd does (sd_listen_fds(3): LISTEN_PID, LISTEN_FDS, descriptor 3), so that
 * nobody has to wait for it to appear. However bt ends, the program does: PR_SET_PDEATHSIG tells it of a kill -9, and it ends by
 * itself when its last connection has gone; SIGTERM lets it write what it holds. It is in a session of its own: the terminal's
 * Ctrl-C is not for it. */
#pragma once
#include <stdbool.h>
#include "../boot/image.h"

struct loop;
struct block_server;
struct block_helper {
  const char *arguments[24]; /* the program, its arguments, NULL */
  const char *package;       /* Debian's that has it, for who has not */
};

/* Vcpu thread. NULL: `error` says why, beginning with `name`, the image's. `loop` must outlive it. */
struct block_server *block_server_start(const char *name, const struct block_helper *helper, struct loop *loop,
                                        char error[ERROR_TEXT]);
const char *block_server_socket(const struct block_server *s); /* the path, until block_server_hide() */
void block_server_hide(struct block_server *s);                /* all who should are connected */
bool block_server_has_ended(struct block_server *s);           /* any thread */
/* What it has said on its standard error, as one line, "" if nothing. */
void block_server_words(struct block_server *s, char *out, size_t size);
/* Its connections have been closed: waits for its end, not for ever. NULL: nothing happens. */
void block_server_end(struct block_server *s);
