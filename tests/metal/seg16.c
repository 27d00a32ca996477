/* 16-bit protected mode in ring 3: code and stack segments of 64 KiB, both operand and address sizes, SP, SI and DI that
 * wrap, addressing forms, near and far calls, traps to a 32-bit kernel (SDM vol. 3A, chapter 22, "mixing 16- and 32-bit
 * code"). */
#include "lib/metal.h"

#define CODE_SEL (SEL_FREE | 3)
#define DATA_SEL ((SEL_FREE + 8) | 3)
#define STACK_SEL ((SEL_FREE + 16) | 3)
static uint8_t data[65536 + 4096] __attribute__((aligned(4096))), stack[65536 + 16] __attribute__((aligned(16)));

static struct context c;

static void show(const char *label, uint32_t base) {
  struct context before = c;
  run(&c);
  print("%s: ", label);
  report_end(&c, (void *)base);
  report_changes(&before, &c);
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 65536; i++) sum = sum * 31 + data[i] + stack[i] * 7;
  print(" sum %X\n", sum);
}

/* Base of CS so that the code is at offset 100h. */
static void code16(const char *label, const char *code) {
  gdt_set(SEL_FREE, make_segment((uint32_t)code - 0x100, 0xffff, ACC_CODE | ACC_DPL3, 0));
  c = context_user((void *)0x100);
  c.cs = CODE_SEL;
  c.ds = DATA_SEL;
  c.es = DATA_SEL;
  c.ss = STACK_SEL;
  c.eax = 0xaaaa1111;
  c.ecx = 0x00010003;
  c.edx = 0xdddd2222;
  c.ebx = 0x00010040;
  c.esp = 0x0100;
  c.ebp = 0x00020020;
  c.esi = 0x0000fffe;
  c.edi = 0x0000fff8;
  for (uint32_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 5 + (i >> 8));
  memset(stack, 0x5a, sizeof stack);
  show(label, 0x100);
}

static void addressing(void) {
  code16("bx+si", CODE16("mov ax, [bx+si]"));
  code16("bx+di+disp8", CODE16("mov ax, [bx+di-4]"));
  code16("bp+di disp16", CODE16("mov ax, [bp+di+0x1234]"));
  code16("bp uses ss", CODE16("mov ax, [bp]\n mov dx, ds:[bp]"));
  code16("disp16", CODE16("mov ax, ds:[0x8000]"));
  code16("si wraps", CODE16("mov al, [si+2]"));
  code16("lea wraps", CODE16("lea ax, [bx+si]\n lea edx, [bx+si]"));
  code16("operand 32", CODE16("mov eax, [bx]\n add eax, 0x12345678"));
  code16("address 32", CODE16("mov ebx, 0x80\n mov ax, [ebx + ecx*4 - 0x40000]"));
  code16("both 32", CODE16("and ebx, 0xff\n mov [ebx*2 + 0x100], edx"));
  code16("moffs", CODE16("mov al, ds:[0x1234]\n mov ds:[0x1236], ax"));
  code16("xlat", CODE16("xlatb"));
}

static void stacks(void) {
  code16("push pop", CODE16("push ax\n push edx\n pop cx\n pop esi"));
  code16("sp wraps down", CODE16("mov sp, 2\n push ax\n push dx"));
  code16("sp wraps up", CODE16("mov sp, 0xfffe\n pop ax\n pop bx"));
  code16("high esp kept", CODE16("mov esp, 0x12340100\n push ax\n pop bx\n push dx"));
  code16("pusha popa", CODE16("pusha\n mov bp, sp\n mov word ptr [bp+14], 0x7777\n popa"));
  code16("pushad", CODE16("pushad\n popad"));
  code16("enter leave", CODE16("enter 8, 0\n mov [bp-2], ax\n leave"));
  code16("enter nested", CODE16("enter 8, 2"));
  code16("call ret", CODE16("call 1f\n jmp 2f\n 1: mov ax, 5\n ret\n 2: nop"));
  code16("call 32 bits", CODE16("data32 call 1f\n jmp 2f\n 1: mov ax, 5\n data32 ret\n 2: nop"));
  code16("ret n", CODE16("push ax\n push ax\n call 1f\n jmp 2f\n 1: ret 4\n 2: nop"));
  code16("far call", CODE16("push cs\n call 1f\n jmp 2f\n 1: retf\n 2: nop"));
  code16("indirect", CODE16("call 1f\n 1: pop ax\n add ax, 6\n jmp ax\n nop\n nop\n mov dx, 9"));
  code16("pushf popf", CODE16("stc\n pushf\n clc\n popf\n sbb ax, ax"));
  code16("push imm", CODE16("push -3\n push 0x1234\n data32 push 0x12345678"));
  code16("push sreg", CODE16("push ds\n push es\n pop ds\n pop es"));
}

static void strings_and_loops(void) {
  code16("loop cx", CODE16("1: inc ax\n loop 1b"));
  code16("loop ecx", CODE16("mov ecx, 3\n 1: inc ax\n addr32 loop 1b"));
  code16("jcxz", CODE16("xor cx, cx\n jcxz 1f\n mov ax, 1\n 1: nop"));
  code16("movsb wraps", CODE16("mov cx, 6\n rep movsb"));
  code16("stosw wraps", CODE16("mov cx, 6\n rep stosw"));
  code16("stosd", CODE16("mov cx, 3\n mov di, 0x100\n rep stosd"));
  code16("movsd backwards", CODE16("std\n mov cx, 3\n mov si, 4\n mov di, 0x20\n rep movsd\n cld"));
  code16("movsb address 32", CODE16("mov ecx, 5\n mov esi, 0x10\n mov edi, 0x20\n addr32 rep movsb"));
  code16("scas", CODE16("mov cx, 0xffff\n mov al, 0x33\n mov di, 0\n repne scasb"));
  code16("jump", CODE16("mov ax, 1\n jmp 1f\n .skip 300\n 1: mov dx, 2"));
}

static void traps(void) {
  code16("int3", CODE16("int3"));
  code16("div", CODE16("xor bx, bx\n div bx"));
  code16("ud2", CODE16("nop\n ud2"));
  code16("aad", CODE16("mov ax, 0x0307\n aad"));
  code16("sgdt 16", CODE16("sgdt [bx]"));
  code16("mul", CODE16("mul dx\n movzx ecx, ax"));
}

/* Ring 0: SS.B = 0, so pushes use SP alone; and a 16-bit code segment in ring 0. */
static void ring0(void) {
  gdt_set(SEL_FREE + 24, make_segment((uint32_t)stack, 0xffff, ACC_DATA, 0));
  const char *code = CODE("mov ebx, esp\n mov edx, ss\n mov eax, 0x50\n mov ss, eax\n mov esp, 0x77770010\n push 0x11\n"
                          " push 0x22\n mov ecx, esp\n"
                          "mov sp, 0\n push 0x33\n mov esi, esp\n pop edi\n mov ebp, esp\n mov ss, edx\n mov esp, ebx");
  c = context_kernel(code);
  run(&c);
  print("ring 0 stack: %s ecx %x esi %x edi %x ebp %x words %x %x %x\n", vector_name(c.vector), c.ecx, c.esi, c.edi, c.ebp,
        *(uint32_t *)(stack + 12), *(uint32_t *)(stack + 8), *(uint32_t *)(stack + 0xfffc));
}

void test_main(void) {
  gdt_set(DATA_SEL, make_segment((uint32_t)data, 0xffff, ACC_DATA | ACC_DPL3, 0));
  gdt_set(STACK_SEL, make_segment((uint32_t)stack, 0xffff, ACC_DATA | ACC_DPL3, 0));
  addressing();
  stacks();
  strings_and_loops();
  traps();
  ring0();
}
