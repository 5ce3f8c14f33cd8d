/* Stand-in: the names of ST's firmware that ai_model_config.h refers to; the values are our own. */
#ifndef APP_TYPES_H
#define APP_TYPES_H
#include <stdint.h>

#define CTRL_AI_CLASS_DISTRIBUTION (1U)
#define CTRL_AI_SPECTROGRAM_LOG_MEL (3U)
#define CTRL_CMD_PARAM_AI 1
#define COM_TYPE_MIC 4

typedef enum { MEL_HTK, MEL_SLANEY } mel_formula;
typedef enum { SPECTRUM_TYPE_MAGNITUDE = 1, SPECTRUM_TYPE_POWER } spectrum_type;
typedef enum { LOGMELSPECTROGRAM_SCALE_DB, LOGMELSPECTROGRAM_SCALE_LOG } log_formula;
#endif
