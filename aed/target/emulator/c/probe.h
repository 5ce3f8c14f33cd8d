/* Instructions, by SysTick, and the depth of the stack, by paint. */
#ifndef AED_PROBE_H
#define AED_PROBE_H

#include <stdint.h>

void aed_start_clock(void);
uint32_t aed_now(void); /* ticks, modulo 2^24 */
int aed_wrapped(void);  /* whether the clock went round since it was started */
void aed_paint_stack(void);
uint32_t aed_stack_depth(void); /* bytes used since it was painted */

#endif
