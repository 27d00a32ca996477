/* Options about logs, statistics and how the translator works (the axes that every test can run over). */
#include <string.h>
#include "../../translator/host_cpu.h"
#include "options_handlers.h"

struct item {
  const char *name, *help;
};
static const struct item log_items[LOG_COUNT] = {
#define LOG_ITEM(name, help) {#name, help},
  LOG_ITEMS(LOG_ITEM)
#undef LOG_ITEM
};
static const struct item optimisations[OPT_COUNT] = {
#define OPTIMISATION(id, name, help) {#name, help},
  OPTIMISATIONS(OPTIMISATION)
#undef OPTIMISATION
};
_Static_assert(LOG_COUNT <= 32 && OPT_COUNT <= 32, "a bit each in monitor_options");

static int print_items(const struct item *items, unsigned count) {
  for (unsigned i = 0; i < count; i++) printf("%-14s %s\n", items[i].name, items[i].help);
  return OPTIONS_DONE;
}
static const struct item host_features[HOST_FEATURE_COUNT] = {
#define HOST_ITEM(id, name, leaf, reg, bit, help) {name, help},
  HOST_FEATURES(HOST_ITEM)
#undef HOST_ITEM
};

/* Adds the bits of a list of names to *mask. */
static int parse_items(struct parser *p, const struct item *items, unsigned count, uint32_t *mask) {
  struct suboption s;
  bool bad = false;
  if (!strcmp(p->value, "help") || !strcmp(p->value, "?")) return print_items(items, count);
  for (const char *cursor = p->value; value_next(&cursor, &s, &bad);) {
    unsigned i = 0;
    while (i < count && strcmp(items[i].name, s.text)) i++;
    if (i == count) {
      char name[128];
      return options_complain(p, "there is no '%s' ('help' lists what there is)", value_printable(name, s.text));
    }
    *mask |= 1u << i;
  }
  return bad || !*p->value ? options_complain(p, "'help' lists what there is") : OPTIONS_OK;
}

int handle_log(struct parser *p) {
  struct monitor_options *m = &p->o->monitor;
  int result = parse_items(p, log_items, LOG_COUNT, &m->log);
  if (m->log & (1u << LOG_nochain | 1u << LOG_exec)) m->no_chain = true;
  return result;
}
int handle_logfile(struct parser *p) {
  if (!*p->value) return options_complain(p, "the value is empty");
  return p->o->log_file = p->value, OPTIONS_OK;
}
int handle_symbols(struct parser *p) {
  if (!*p->value) return options_complain(p, "the value is empty");
  return p->o->symbols = p->value, OPTIONS_OK;
}

int handle_stats(struct parser *p) {
  if (p->value && strcmp(p->value, "json") && strcmp(p->value, "text")) return options_complain(p, "json or nothing");
  p->o->stats = true;
  p->o->stats_json = p->value && !strcmp(p->value, "json");
  return OPTIONS_OK;
}

int handle_icount(struct parser *p) {
  struct suboption s;
  bool bad = false, on, have = false;
  for (const char *cursor = p->value; value_next(&cursor, &s, &bad);) {
    /* HLT skips to the next deadline either way */
    if (s.value && !strcmp(s.key, "sleep") && value_switch(s.value, &on)) continue;
    if (s.value && !strcmp(s.key, "align") && !strcmp(s.value, "off")) continue;
    if (s.value && strcmp(s.key, "shift")) return options_complain(p, "bt knows shift=N");
    uint64_t n;
    if (!value_number(s.value ? s.value : s.text, 10, &n)) return options_complain(p, "shift is 0 to 10");
    p->o->monitor.icount_shift = (int)n;
    have = true;
  }
  return bad || !have ? options_complain(p, "shift is 0 to 10") : OPTIONS_OK;
}

int handle_singlestep(struct parser *p) { return p->o->monitor.one_insn = true, OPTIONS_OK; }
int handle_exact_flags(struct parser *p) { return p->o->monitor.exact_flags = true, OPTIONS_OK; }
int handle_eager(struct parser *p) { return p->o->monitor.eager = true, OPTIONS_OK; }
int handle_without(struct parser *p) { return parse_items(p, optimisations, OPT_COUNT, &p->o->monitor.without); }

/* What is named and the host has not is refused when the machine is made: parsing asks the host nothing. */
int handle_host(struct parser *p) {
  struct monitor_options *m = &p->o->monitor;
  uint32_t named = 0;
  m->host_hidden = m->host_wanted = 0;
  if (!strcmp(p->value, "native")) return OPTIONS_OK;
  if (!strcmp(p->value, "baseline")) return m->host_hidden = HOST_ALL, OPTIONS_OK;
  int result = parse_items(p, host_features, HOST_FEATURE_COUNT, &named);
  if (result == OPTIONS_OK) m->host_hidden = HOST_ALL & ~named, m->host_wanted = named;
  return result;
}

static int count(struct parser *p, uint64_t *where) {
  return value_number(p->value, UINT64_MAX, where) ? OPTIONS_OK : options_complain(p, "not a number");
}
int handle_flush_every(struct parser *p) { return count(p, &p->o->monitor.flush_every); }
int handle_paranoid(struct parser *p) { return count(p, &p->o->monitor.paranoid); }
int handle_poll_sleep(struct parser *p) {
  uint64_t ms;
  bool automatic = !strcmp(p->value, "auto");
  if (!automatic && !value_number(p->value, 50, &ms)) return options_complain(p, "auto, or 0 to 50 milliseconds");
  p->o->monitor.poll_sleep = automatic ? POLL_SLEEP_AUTO : (int64_t)ms * 1000000;
  return OPTIONS_OK;
}
int handle_irq_jitter(struct parser *p) {
  p->o->monitor.irq_jitter = true;
  return count(p, &p->o->monitor.irq_jitter_seed);
}

int handle_user(struct parser *p) {
  static const char *const names[] = {[USER_TRANSLATE] = "translate", [USER_DIRECT] = "direct", [USER_AUTO] = "auto"};
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(p->value, names[i])) return p->o->monitor.user = (enum user_choice)i, OPTIONS_OK;
  return options_complain(p, "translate, direct or auto");
}
