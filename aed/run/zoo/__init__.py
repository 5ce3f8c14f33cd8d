"""``user_config.yaml`` of ST's model zoo for audio event detection: what its keys are, and what they are here.

Sources: STMicroelectronics/stm32ai-modelzoo of 2023, stm32ai-modelzoo-services 2 to 4: names and meanings of keys.
"""
