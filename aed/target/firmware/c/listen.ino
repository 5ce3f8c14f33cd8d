// Finds events in sound: 16-bit mono samples, little endian, from the serial port; a line for each alarm and event.
#include <Arduino.h>
#include <LIBRARY.h>

#define BLOCK 160U

static aed_listener listener;
static aed_events events;

// The next samples at AED_FE_SAMPLE_RATE Hz. Here from the serial port; on a board from its microphone.
static size_t microphone(int16_t *block, size_t size) {
    return Serial.readBytes((char *)block, size * sizeof block[0]) / sizeof block[0];
}

static void act(const aed_event *event) {
    Serial.print(event->kind == AED_EVENT_ENDS ? "event " : "alarm ");
    Serial.println(aed_class_names[event->label]);
}

static void decide(const int8_t *out, int ready) {
    float probability[AED_CLASSES] = {0.0F}; // of sound under the gate
    aed_event found[AED_CLASSES];
    if (ready != AED_LISTENER_QUIET) {
        aed_probabilities(out, probability);
    }
#if AED_BY_NEARNESS
    const int count = aed_events_add(&events, probability, aed_nearness(out), found);
#else
    const int count = aed_events_add(&events, probability, found);
#endif
    for (int i = 0; i < count; ++i) {
        act(&found[i]);
    }
}

void setup() {
    Serial.begin(1000000);
    if (aed_selftest(&listener.net) != 0) {
        Serial.println("the library does not work on this core");
    }
    aed_listener_init(&listener);
    aed_events_init(&events, &aed_rule);
}

void loop() {
    int16_t block[BLOCK];
    int8_t out[AED_NET_OUTPUT_SIZE];
    const size_t count = microphone(block, BLOCK);
    for (size_t used = 0U; used < count;) {
        int ready;
        used += aed_listen(&listener, &block[used], count - used, out, &ready);
        if (ready != 0) {
            decide(out, ready);
        }
    }
}
