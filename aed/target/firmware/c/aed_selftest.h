/* Whether the net gives on this core what ONNX Runtime gives. */
#ifndef AED_SELFTEST_H
#define AED_SELFTEST_H

#ifdef __cplusplus
extern "C" {
#endif

/* Runs the net on a made-up input; returns the number of outputs that differ: 0 is right. Takes as much RAM as an input. */
int aed_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
