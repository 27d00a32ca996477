// link: bt_monitor
/* Guest memory from C: pages, segments, alignment, breakpoints. Run only one: its name as argument. */
#include "exec_mock.h"

static void crossing_read_joins_both_pages(void **state) {
  struct fixture *f = *state;
  uint8_t got[512];
  for (unsigned size = 2; size <= 512; size += 51) {
    assert_int_equal(mem_read(&f->v, to_gla(0x3000 - size / 2), size, MEM_CPL, got), EXEC_NEXT);
    assert_memory_equal(got, f->mmu.ram + 0x3000 - size / 2, size);
  }
}

static void crossing_write_faults_before_the_first_byte(void **state) {
  struct fixture *f = *state;
  uint32_t old = ram32(f, 0x2ffe), value = 0xdeadbeef;
  set_page(f, 3, PAGE_READ_ONLY);
  assert_int_equal(mem_write(&f->v, to_gla(0x2ffe), 4, MEM_CPL, &value), EXEC_FAULT);
  assert_int_equal(f->v.fault.vector, VEC_PF);
  assert_int_equal(f->v.fault.cr2.v, 0x3000);
  assert_int_equal(f->v.fault.error, 3);
  assert_int_equal(ram32(f, 0x2ffe), old);
  assert_int_equal(*mock_entry(&f->mmu, 0x2000, MMU_WRITE_ARRAY), 0); /* no D bit of the first page either */
  set_page(f, 2, PAGE_ABSENT);
  assert_int_equal(mem_write(&f->v, to_gla(0x2ffe), 4, MEM_CPL, &value), EXEC_FAULT);
  assert_int_equal(f->v.fault.cr2.v, 0x2ffe);
}

static void wraps_at_4_gib(void **state) {
  struct fixture *f = *state;
  uint32_t value = 0x11223344, got = 0;
  f->mmu.last_page_frame = 9;
  assert_int_equal(seg_write(&f->v, SEG_DS, 0xfffffffe, 4, &value), EXEC_NEXT);
  assert_int_equal(ram16(f, 0x9ffe), 0x3344);
  assert_int_equal(ram16(f, 0), 0x1122);
  assert_int_equal(seg_read(&f->v, SEG_DS, 0xfffffffe, 4, &got), EXEC_NEXT);
  assert_int_equal(got, value);
  set_page(f, 0, PAGE_ABSENT);
  assert_int_equal(mem_read(&f->v, to_gla(0xffffffff), 2, MEM_CPL, &got), EXEC_FAULT);
  assert_int_equal(f->v.fault.cr2.v, 0);
}

static void privilege_of_the_access(void **state) {
  struct fixture *f = *state;
  uint32_t value = 0;
  set_page(f, 2, PAGE_SUPERVISOR);
  f->v.cpl = 3;
  assert_int_equal(mem_read(&f->v, to_gla(0x2000), 4, MEM_CPL, &value), EXEC_FAULT);
  assert_int_equal(f->v.fault.error, 5);
  assert_int_equal(mem_read(&f->v, to_gla(0x2000), 4, MEM_SYSTEM, &value), EXEC_NEXT);
  f->v.cpl = 0;
  assert_int_equal(mem_read(&f->v, to_gla(0x2000), 4, MEM_CPL, &value), EXEC_NEXT);
  assert_int_equal(mem_probe_write(&f->v, to_gla(0x2000), 4, MEM_USER), EXEC_FAULT);
  assert_int_equal(f->v.fault.error, 7);
}

static void probes_change_nothing(void **state) {
  struct fixture *f = *state;
  assert_int_equal(mem_probe_write(&f->v, to_gla(0x2ffe), 4, MEM_CPL), EXEC_NEXT);
  assert_int_equal(mem_probe_read(&f->v, to_gla(0x2ffe), 4, MEM_CPL), EXEC_NEXT);
  for (uint32_t page = 0x2000; page <= 0x3000; page += MMU_PAGE) {
    assert_int_equal(*mock_entry(&f->mmu, page, MMU_WRITE_ARRAY), 0);
    assert_int_equal(*mock_entry(&f->mmu, page, MMU_READ_ARRAY), 0);
  }
}

static void traced_and_mmio_pages(void **state) {
  struct fixture *f = *state;
  uint32_t value = 0xcafef00d, got;
  set_page(f, 2, PAGE_TRACED);
  set_page(f, 3, PAGE_MMIO);
  assert_int_equal(mem_write(&f->v, to_gla(0x3010), 4, MEM_CPL, &value), EXEC_NEXT);
  assert_false(f->v.dropped);
  assert_int_equal(f->mmu.io_writes, 1);
  assert_int_equal(mem_write(&f->v, to_gla(0x2ffe), 4, MEM_CPL, &value), EXEC_NEXT); /* one half each */
  assert_true(f->v.dropped);
  assert_int_equal(f->mmu.io_writes, 2);
  assert_int_equal(f->mmu.traced_writes, 1);
  assert_int_equal(mem_read(&f->v, to_gla(0x2ffe), 4, MEM_CPL, &got), EXEC_NEXT);
  assert_int_equal(got, value);
  assert_int_equal(f->mmu.io_reads, 1);
}

static void check_seg(struct fixture *f, unsigned seg, uint32_t offset, unsigned size, bool write, int vector) {
  gla linear = {0};
  int result = seg_check(&f->v, seg, offset, size, write, &linear);
  assert_int_equal(result, vector < 0 ? EXEC_NEXT : EXEC_FAULT);
  if (vector >= 0) {
    assert_int_equal(f->v.fault.vector, vector);
    assert_true(f->v.fault.has_error);
    assert_int_equal(f->v.fault.error, 0);
  } else assert_int_equal(linear.v, f->v.s.seg[seg].base + offset);
}

static void limits(void **state) {
  struct fixture *f = *state;
  struct tr_segment *s = &f->v.s.seg[SEG_DS], *ss = &f->v.s.seg[SEG_SS];
  *s = (struct tr_segment){.base = 0x4000, .limit = 0xfff, .attr = 0x4093, .usable = 1};
  check_seg(f, SEG_DS, 0xffc, 4, true, -1);
  check_seg(f, SEG_DS, 0xffd, 4, true, VEC_GP);
  check_seg(f, SEG_DS, 0xfffffffe, 4, false, VEC_GP);
  s->attr = 0x4097; /* expand-down, 32 bits: 1000h..FFFFFFFFh */
  check_seg(f, SEG_DS, 0xfff, 1, true, VEC_GP);
  check_seg(f, SEG_DS, 0x1000, 4, true, -1);
  check_seg(f, SEG_DS, 0xfffffffc, 4, true, -1);
  check_seg(f, SEG_DS, 0xfffffffd, 4, true, VEC_GP);
  s->attr = 0x0097; /* 16 bits: up to FFFFh */
  check_seg(f, SEG_DS, 0xfffe, 2, true, -1);
  check_seg(f, SEG_DS, 0xfffe, 4, true, VEC_GP);
  s->limit = 0xffffffff; /* nothing is valid */
  check_seg(f, SEG_DS, 0xffff, 1, false, VEC_GP);
  *ss = (struct tr_segment){.limit = 0xfff, .attr = 0x4093, .usable = 1};
  check_seg(f, SEG_SS, 0x1000, 1, false, VEC_SS);
}

static void types(void **state) {
  struct fixture *f = *state;
  struct tr_segment *s = &f->v.s.seg[SEG_ES];
  static const struct {
    uint8_t type;
    bool read, write;
  } rows[] = {
    {0x0, true, false},  {0x1, true, false},  {0x2, true, true},  {0x3, true, true},   {0x4, true, false}, {0x6, true, true},
    {0x8, false, false}, {0x9, false, false}, {0xa, true, false}, {0xc, false, false}, {0xe, true, false}, {0xf, true, false},
  };
  for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; n++) {
    *s = (struct tr_segment){
      .limit = rows[n].type & 8 || !(rows[n].type & 4) ? 0xfffff : 0, .attr = 0xc090 | rows[n].type, .usable = 1};
    check_seg(f, SEG_ES, 0x100, 4, false, rows[n].read ? -1 : VEC_GP);
    check_seg(f, SEG_ES, 0x100, 4, true, rows[n].write ? -1 : VEC_GP);
  }
  s->attr = 0xc093;
  s->usable = 0;
  check_seg(f, SEG_ES, 0, 1, false, VEC_GP);
  f->v.cr0 &= ~CR0_PE; /* real mode looks at the limit alone */
  s->attr = 0x9b;
  s->limit = 0xffff;
  check_seg(f, SEG_ES, 0xfffe, 2, true, -1);
  check_seg(f, SEG_ES, 0xffff, 2, true, VEC_GP);
}

static void alignment_only_in_ring_3(void **state) {
  struct fixture *f = *state;
  uint32_t value = 0;
  f->v.cr0 |= CR0_AM;
  f->v.s.sys_flags |= FLAG_AC;
  assert_int_equal(seg_read(&f->v, SEG_DS, 0x2001, 4, &value), EXEC_NEXT);
  f->v.cpl = 3;
  assert_int_equal(seg_read(&f->v, SEG_DS, 0x2001, 1, &value), EXEC_NEXT);
  assert_int_equal(seg_read(&f->v, SEG_DS, 0x2002, 2, &value), EXEC_NEXT);
  assert_int_equal(seg_read(&f->v, SEG_DS, 0x2002, 4, &value), EXEC_FAULT);
  assert_int_equal(f->v.fault.vector, VEC_AC);
  assert_true(f->v.fault.has_error && f->v.fault.error == 0);
  assert_int_equal(seg_probe_write(&f->v, SEG_DS, 0x2001, 2), EXEC_FAULT);
  assert_int_equal(f->v.fault.vector, VEC_AC);
  assert_int_equal(mem_read(&f->v, to_gla(0x2002), 4, MEM_CPL, &value), EXEC_NEXT);
  f->v.cr0 &= ~CR0_AM;
  assert_int_equal(seg_read(&f->v, SEG_DS, 0x2002, 4, &value), EXEC_NEXT);
}

static void data_breakpoints_by_kind_and_length(void **state) {
  struct fixture *f = *state;
  uint32_t value = 0;
  f->v.dr[0] = 0x2004;
  f->v.dr[2] = 0x2010;
  f->v.dr[7] = 0x400 | 1 << 0 | 0xd << 16 | 1 << 5 | 0x3 << 24; /* DR0: write, 4 bytes; DR2: any access, 1 byte, global */
  assert_true(db_armed(&f->v));
  seg_read(&f->v, SEG_DS, 0x2004, 4, &value);
  seg_write(&f->v, SEG_DS, 0x2008, 4, &value);
  seg_write(&f->v, SEG_DS, 0x2000, 4, &value);
  seg_read(&f->v, SEG_DS, 0x2011, 1, &value);
  assert_int_equal(f->v.pending_db, 0);
  seg_write(&f->v, SEG_DS, 0x2007, 1, &value);
  assert_int_equal(f->v.pending_db, 1);
  seg_read(&f->v, SEG_DS, 0x200d, 4, &value);
  assert_int_equal(f->v.pending_db, 5);
  f->v.dr[7] = 0x400 | 0xd << 16; /* not enabled */
  assert_false(db_armed(&f->v));
}

static void effective_addresses(void **state) {
  struct fixture *f = *state;
  struct insn i = insn_mem(OP_XLAT, 0, 4, REG_EBX, -16);
  f->v.s.gpr[REG_EBX] = 8;
  f->v.s.gpr[REG_ESI] = 0x10000001;
  assert_int_equal(insn_offset(&f->v, &i), 0xfffffff8);
  i.index = REG_ESI;
  i.scale = 3;
  assert_int_equal(insn_offset(&f->v, &i), 0x80000000);
  i.address_size = 2;
  assert_int_equal(insn_offset(&f->v, &i), 0);
}

static const struct CMUnitTest tests[] = {
  EXEC_TEST(crossing_read_joins_both_pages),
  EXEC_TEST(crossing_write_faults_before_the_first_byte),
  EXEC_TEST(wraps_at_4_gib),
  EXEC_TEST(privilege_of_the_access),
  EXEC_TEST(probes_change_nothing),
  EXEC_TEST(traced_and_mmio_pages),
  EXEC_TEST(limits),
  EXEC_TEST(types),
  EXEC_TEST(alignment_only_in_ring_3),
  EXEC_TEST(data_breakpoints_by_kind_and_length),
  EXEC_TEST(effective_addresses),
};
EXEC_MAIN(tests)
