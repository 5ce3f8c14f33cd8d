/* Sends the sound of a board's microphone to `python -m aed.record`: PCM in frames that are numbered and checked.
 *
 * A frame, all numbers little-endian:
 *   4 bytes  0xAE 0xD5 0xEA 0x5D, where a frame begins
 *   1 byte   1, the version of this form
 *   1 byte   1: 16-bit signed samples of one channel
 *   2 bytes  samples in this frame, 1 to AED_RECORD_SAMPLES
 *   4 bytes  number of the frame, from 0 on
 *   4 bytes  position of its first sample, from 0 on; samples that the board lost are counted
 *   4 bytes  samples per second
 *   samples
 *   4 bytes  CRC-32 (IEEE 802.3) of all before
 */
#ifndef AED_RECORD_H
#define AED_RECORD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Samples of a frame: 10 ms at 16 kHz. Up to 512; less is less RAM, and more bytes on the line. */
#ifndef AED_RECORD_SAMPLES
#define AED_RECORD_SAMPLES 160
#endif

#define AED_RECORD_HEADER 20
#define AED_RECORD_FRAME (AED_RECORD_HEADER + 2 * AED_RECORD_SAMPLES + 4)

#if AED_RECORD_SAMPLES < 1 || AED_RECORD_SAMPLES > 512
#error "samples of a frame: need 1 to 512"
#endif

/* One microphone; yours to allocate, statically. */
typedef struct {
    uint32_t rate_hz;
    uint32_t number;
    uint32_t position;
    uint16_t filled;
    uint8_t frame[AED_RECORD_FRAME];
} aed_recorder;

/* Yours: sends bytes, all of them and in order, over USB or a UART. Waits, or copies them to a buffer of its own. */
void aed_record_write(const uint8_t *bytes, size_t count);

/* Begins a stream of rate_hz samples per second: what the microphone really gives, for it is written into the files. */
void aed_recorder_init(aed_recorder *recorder, uint32_t rate_hz);

/* Takes samples, any number; sends a frame whenever one is full. */
void aed_recorder_add(aed_recorder *recorder, const int16_t *samples, size_t count);

/* Says that `count` samples were lost here, between the last samples and the next: a buffer of the DMA that came too
 * late to be read. Sends what it has first. */
void aed_recorder_lost(aed_recorder *recorder, uint32_t count);

#ifdef __cplusplus
}
#endif

#endif
