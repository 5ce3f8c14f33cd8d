/* Frames of PCM; their form is in aed_record.h. */
#include "aed_record.h"

static void put(uint8_t *to, uint32_t value, uint32_t bytes) {
    for (uint32_t i = 0U; i < bytes; ++i) {
        to[i] = (uint8_t)((value >> (8U * i)) & 0xFFU);
    }
}

/* CRC-32 of IEEE 802.3, four bits at a time: its table has 64 bytes. */
static uint32_t crc32(const uint8_t *bytes, size_t count) {
    static const uint32_t table[16] = {
        0x00000000U, 0x1DB71064U, 0x3B6E20C8U, 0x26D930ACU, 0x76DC4190U, 0x6B6B51F4U, 0x4DB26158U, 0x5005713CU,
        0xEDB88320U, 0xF00F9344U, 0xD6D6A3E8U, 0xCB61B38CU, 0x9B64C2B0U, 0x86D3D2D4U, 0xA00AE278U, 0xBDBDF21CU,
    };
    uint32_t crc = 0xFFFFFFFFU;
    for (size_t i = 0U; i < count; ++i) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ table[crc & 0xFU];
        crc = (crc >> 4) ^ table[crc & 0xFU];
    }
    return crc ^ 0xFFFFFFFFU;
}

static void send(aed_recorder *recorder) {
    static const uint8_t begin[6] = {0xAEU, 0xD5U, 0xEAU, 0x5DU, 1U, 1U};
    uint8_t *const frame = recorder->frame;
    const uint32_t count = recorder->filled;
    const size_t size = (size_t)AED_RECORD_HEADER + (2U * count);
    for (uint32_t i = 0U; i < sizeof begin; ++i) {
        frame[i] = begin[i];
    }
    put(&frame[6], count, 2U);
    put(&frame[8], recorder->number, 4U);
    put(&frame[12], recorder->position, 4U);
    put(&frame[16], recorder->rate_hz, 4U);
    put(&frame[size], crc32(frame, size), 4U);
    aed_record_write(frame, size + 4U);
    recorder->number += 1U;
    recorder->position += count;
    recorder->filled = 0U;
}

void aed_recorder_init(aed_recorder *recorder, uint32_t rate_hz) {
    recorder->rate_hz = rate_hz;
    recorder->number = 0U;
    recorder->position = 0U;
    recorder->filled = 0U;
}

void aed_recorder_add(aed_recorder *recorder, const int16_t *samples, size_t count) {
    for (size_t i = 0U; i < count; ++i) {
        put(&recorder->frame[AED_RECORD_HEADER + (2U * recorder->filled)], (uint16_t)samples[i], 2U);
        recorder->filled += 1U;
        if (recorder->filled == (uint16_t)AED_RECORD_SAMPLES) {
            send(recorder);
        }
    }
}

void aed_recorder_lost(aed_recorder *recorder, uint32_t count) {
    if (recorder->filled > 0U) {
        send(recorder);
    }
    recorder->position += count;
}
