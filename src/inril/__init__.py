"""IN-RIL: interleaved reinforcement and imitation learning for policy fine-tuning."""

__version__ = "0.1.0"
