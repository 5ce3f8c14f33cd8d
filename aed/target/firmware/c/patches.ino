// Finds events in patches, from the serial port: a line for each alarm and event.
#include <Arduino.h>
#include <LIBRARY.h>

static aed_net net;
static aed_events events;
static int8_t patch[AED_NET_INPUT_SIZE];

static void act(const aed_event *event) {
    Serial.print(event->kind == AED_EVENT_ENDS ? "event " : "alarm ");
    Serial.println(aed_class_names[event->label]);
}

void setup() {
    Serial.begin(1000000);
    if (aed_selftest(&net) != 0) {
        Serial.println("the library does not work on this core");
    }
    aed_events_init(&events, &aed_rule);
}

// The next patch. Here from the serial port; on a board from your front end.
void loop() {
    int8_t out[AED_NET_OUTPUT_SIZE];
    float probability[AED_CLASSES];
    aed_event found[AED_CLASSES];
    if (Serial.readBytes((char *)patch, sizeof patch) != sizeof patch) {
        return;
    }
#if AED_NET_FEEDS // patches are frame after frame
    aed_net_run_frames(&net, patch, out);
#else
    aed_net_run(&net, patch, out);
#endif
    aed_probabilities(out, probability);
#if AED_BY_NEARNESS
    const int count = aed_events_add(&events, probability, aed_nearness(out), found);
#else
    const int count = aed_events_add(&events, probability, found);
#endif
    for (int i = 0; i < count; ++i) {
        act(&found[i]);
    }
}
