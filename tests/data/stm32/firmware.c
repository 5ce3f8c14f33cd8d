/* Uses every macro and table the way firmware of either generation does: PREFIX is MODE or MODEL. */
#include "app_types.h"
#include "ai_model_config.h"
#include "user_mel_tables.h"

#define JOIN_(a, b, c) a##b##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define SHARED(name) JOIN(CTRL_X_CUBE_AI_, PREFIX, _##name)

#if !(CTRL_X_CUBE_AI_MODE_OUTPUT_1 == CTRL_AI_CLASS_DISTRIBUTION)
#error "MODE_OUTPUT_1"
#endif
#if !(CTRL_X_CUBE_AI_MODEL_OUTPUT_1 == CTRL_AI_CLASS_DISTRIBUTION)
#error "MODEL_OUTPUT_1"
#endif

const char *const aed_model_name = SHARED(NAME);
const char *const aed_sensor_name = CTRL_X_CUBE_AI_SENSOR_NAME;
const char *aed_class_names[SHARED(CLASS_NUMBER)] = SHARED(CLASS_LIST);
const uint32_t aed_sequence[] = CTRL_SEQUENCE;

const uint32_t aed_numbers[] = {
    SHARED(NB_OUTPUT), SHARED(OUTPUT_1), SHARED(CLASS_NUMBER), CTRL_X_CUBE_AI_SENSOR_TYPE, CTRL_X_CUBE_AI_NB_SAMPLES,
    CTRL_X_CUBE_AI_PREPROC, CTRL_X_CUBE_AI_SPECTROGRAM_NMEL, CTRL_X_CUBE_AI_SPECTROGRAM_COL,
    CTRL_X_CUBE_AI_SPECTROGRAM_HOP_LENGTH, CTRL_X_CUBE_AI_SPECTROGRAM_NFFT, CTRL_X_CUBE_AI_SPECTROGRAM_WINDOW_LENGTH,
    CTRL_X_CUBE_AI_SPECTROGRAM_NORMALIZE, CTRL_X_CUBE_AI_SPECTROGRAM_FORMULA, CTRL_X_CUBE_AI_SPECTROGRAM_FMIN,
    CTRL_X_CUBE_AI_SPECTROGRAM_FMAX, CTRL_X_CUBE_AI_SPECTROGRAM_TYPE, CTRL_X_CUBE_AI_SPECTROGRAM_LOG_FORMULA,
};
const float32_t aed_reals[] = {CTRL_X_CUBE_AI_SENSOR_ODR, CTRL_X_CUBE_AI_SENSOR_FS, CTRL_X_CUBE_AI_OOD_THR};

const TABLE_T *const aed_window = CTRL_X_CUBE_AI_SPECTROGRAM_WIN;
const TABLE_T *const aed_lut = CTRL_X_CUBE_AI_SPECTROGRAM_MEL_LUT;
const uint32_t *const aed_start = CTRL_X_CUBE_AI_SPECTROGRAM_MEL_START_IDX;
const uint32_t *const aed_stop = CTRL_X_CUBE_AI_SPECTROGRAM_MEL_STOP_IDX;
const uint32_t aed_sizes[] = {
    sizeof user_win / sizeof user_win[0], sizeof user_melFiltersLut / sizeof user_melFiltersLut[0],
    sizeof user_melFiltersStartIndices / 4, sizeof user_melFiltersStopIndices / 4,
};

int aed_is_loud(float sum);
int aed_is_loud(float sum)
{
#if (CTRL_X_CUBE_AI_SPECTROGRAM_SILENCE_THR != 0) && GATE_IN_PREPROCESSOR
    return sum > CTRL_X_CUBE_AI_SPECTROGRAM_SILENCE_THR;
#elif GATE_IN_PREPROCESSOR
    (void)sum;
    return 1;
#else
    return sum > CTRL_X_CUBE_AI_SPECTROGRAM_SILENCE_THR;
#endif
}
