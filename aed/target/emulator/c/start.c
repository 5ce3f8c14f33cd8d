/* Start-up of an emulated Cortex-M: vectors, FPU, memory, then main. */
#include <stdint.h>

extern uint32_t aed_stack_top;
extern uint32_t aed_stack_bottom;
extern uint32_t aed_data_load;
extern uint32_t aed_data_start;
extern uint32_t aed_data_end;
extern uint32_t aed_bss_start;
extern uint32_t aed_bss_end;

int main(void);
void aed_reset(void);
void aed_stop(int code);

static void fault(void) {
    aed_stop(70);
}

/* Interrupt of SysTick; whoever wants it defines it. */
void aed_systick(void);
__attribute__((weak)) void aed_systick(void) {
    fault();
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))(uintptr_t)&aed_stack_top, aed_reset, fault, fault, fault, fault, fault, fault,
    0, 0, 0, fault, fault, 0, fault, aed_systick,
};

void aed_reset(void) {
    volatile uint32_t *const cpacr = (volatile uint32_t *)0xE000ED88u;
    *cpacr |= 0xFu << 20; /* the FPU and, on the M55, MVE */
    __asm volatile("dsb\n isb");
    const uint32_t *from = &aed_data_load;
    for (uint32_t *to = &aed_data_start; to < &aed_data_end; ++to) {
        *to = *from++;
    }
    for (uint32_t *to = &aed_bss_start; to < &aed_bss_end; ++to) {
        *to = 0;
    }
    aed_stop(main());
}
