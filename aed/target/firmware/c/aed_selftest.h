/* Whether the net gives on this core what ONNX Runtime gives. */
#ifndef AED_SELFTEST_H
#define AED_SELFTEST_H

#include "aed_net.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Runs the net on a made-up input, in memory that begins anew after: that of a listener before its aed_listener_init, for
 * example. Returns the number of outputs that differ: 0 is right. Takes as much RAM more as an input. */
int aed_selftest(aed_net *net);

#ifdef __cplusplus
}
#endif

#endif
