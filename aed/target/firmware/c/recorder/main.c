/* Sends the sound of a microphone to `python -m aed.record`: 16-bit mono samples in, frames out. Here from a file to a file; on a
 * board put your drivers into the two functions. */
#include <stdio.h>

#include "aed_record.h"

#define RATE_HZ 16000U /* of your microphone, as its clocks really are */
#define BLOCK 160U

/* The next samples; 0 ends. On a board: wait for a half of the DMA's double buffer, and copy it. Where halves were
 * missed meanwhile, their samples are *lost. */
static size_t microphone(int16_t *block, size_t size, uint32_t *lost) {
    *lost = 0U;
    return fread(block, sizeof block[0], size, stdin);
}

/* On a board: CDC_Transmit_FS, tud_cdc_write, HAL_UART_Transmit_DMA, uart_tx, Serial.write ... */
void aed_record_write(const uint8_t *bytes, size_t count) {
    (void)fwrite(bytes, 1, count, stdout);
    (void)fflush(stdout);
}

int main(void) {
    static aed_recorder recorder;
    int16_t block[BLOCK];
    uint32_t lost;
    size_t count;
    aed_recorder_init(&recorder, RATE_HZ);
    while ((count = microphone(block, BLOCK, &lost)) > 0U) {
        if (lost > 0U) {
            aed_recorder_lost(&recorder, lost);
        }
        aed_recorder_add(&recorder, block, count);
    }
    return 0;
}
