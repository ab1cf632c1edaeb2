"""Small KerasHub backbones, one a family, built from a config with random weights.

Widths are those of a toy, but each hidden dimension leaves room to remove half of its units.
KerasHub is imported when the first backbone is built, so that a test can skip without it.
"""

from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import keras
import numpy as np

VOCABULARY = 60
LENGTH = 12
AUDIO_LENGTH = 4000  # Moonshine's stem makes nine steps of it; it strides 384 in all.


@dataclass(frozen=True)
class Row:
    """A class of KerasHub and its arguments; an argument that is a row is built first."""

    kind: str
    config: dict[str, Any] = field(default_factory=dict)

    def __call__(self) -> Any:
        """Build a fresh one, a model or a part of one."""
        import keras_hub

        maker = getattr(keras_hub.models, self.kind, None) or getattr(
            keras_hub.layers, self.kind, None
        )
        maker = maker or keras.saving.get_registered_object(f"keras_hub>{self.kind}")
        assert maker is not None, f"this KerasHub has no {self.kind}"
        return maker(**{key: _built(value) for key, value in self.config.items()})


def _built(value: Any) -> Any:
    return value() if isinstance(value, Row) else value


def row(kind: str, *bases: dict[str, Any], **own: Any) -> Row:
    config: dict[str, Any] = {}
    for base in (*bases, own):
        config |= base
    return Row(kind, config)


WORDS = {"vocabulary_size": VOCABULARY}
FORM = {"num_layers": 2, "hidden_dim": 32, "intermediate_dim": 64}
TEXT = WORDS | FORM | {"num_heads": 4}
GROUPED = WORDS | FORM | {"num_query_heads": 4, "num_key_value_heads": 2}
EXPERTS = GROUPED | {"num_experts": 4, "top_k": 2}
IMAGE = {"image_shape": (32, 32, 3)}
LARGE = {"image_shape": (64, 64, 3)}
SIGHT = FORM | IMAGE | {"num_heads": 4, "patch_size": 8}
RESNET = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 32, 32],
    "stackwise_num_blocks": [1, 1, 1],
    "stackwise_num_strides": [1, 2, 2],
}
CSP = LARGE | {
    "stem_filters": 16,
    "stem_kernel_size": 3,
    "stem_strides": 1,
    "stackwise_depth": [1, 2],
    "stackwise_strides": [2, 2],
    "stackwise_num_filters": [32, 32],
    "bottle_ratio": [0.5],
    "block_ratio": [0.5],
}
HGNET = {
    "depths": [1, 1, 1, 1],
    "embedding_size": 16,
    "hidden_sizes": [32, 32, 48, 64],
    "stem_channels": [3, 16, 16],
    "hidden_act": "relu",
    "stackwise_stage_filters": [
        [16, 16, 32, 1, 2, 3],
        [32, 16, 32, 1, 2, 3],
        [32, 32, 48, 1, 2, 5],
        [48, 32, 64, 1, 2, 5],
    ],
    "apply_downsample": [False, True, True, True],
    "use_lightweight_conv_block": [False, False, True, True],
    "out_features": ["stage3", "stage4"],
}
MIT = row(
    "MiTBackbone",
    LARGE,
    num_layers=3,
    hidden_dims=[16, 32, 32],
    layerwise_depths=[1, 1, 1],
    layerwise_num_heads=[2, 2, 4],
    layerwise_sr_ratios=[4, 2, 1],
    layerwise_patch_sizes=[7, 3, 3],
    layerwise_strides=[4, 2, 2],
    max_drop_path_rate=0.0,
)
MOBILENET = {
    "stackwise_expansion": [[32, 48], [48, 64]],
    "stackwise_num_blocks": [2, 2],
    "stackwise_num_filters": [[16, 16], [32, 32]],
    "stackwise_kernel_size": [[3, 3], [5, 5]],
    "stackwise_num_strides": [[2, 1], [2, 1]],
    "stackwise_se_ratio": [[None, None], [0.25, 0.25]],
    "stackwise_activation": [["relu", "relu"], ["hard_swish", "hard_swish"]],
    "stackwise_padding": [[1, 1], [2, 2]],
    "output_num_filters": 64,
    "depthwise_filters": 16,
    "depthwise_stride": 2,
    "depthwise_residual": False,
    "last_layer_filter": True,
    "squeeze_and_excite": 0.5,
}
EFFICIENTNET = {
    "stackwise_kernel_sizes": [3, 3, 5],
    "stackwise_num_repeats": [1, 2, 2],
    "stackwise_input_filters": [16, 16, 24],
    "stackwise_output_filters": [16, 24, 32],
    "stackwise_expansion_ratios": [1, 4, 4],
    "stackwise_squeeze_and_excite_ratios": [0.25, 0.25, 0.25],
    "stackwise_strides": [1, 2, 2],
    "stackwise_force_input_filters": [0, 0, 0],
    "stackwise_nores_option": [False, False, False],
    "stackwise_width_coefficients": [1.0, 1.0, 1.0],
    "stackwise_depth_coefficients": [1.0, 1.0, 1.0],
    "dropout": 0.0,
    "input_shape": (32, 32, 3),
}
TWIN = {"num_layers": 2, "hidden_dim": 32, "num_heads": 4, "intermediate_dim": 64}
READER = TWIN | WORDS | {"embedding_dim": 32, "max_sequence_length": LENGTH}
T5GEMMA = WORDS | {
    f"{side}_{key}": value
    for side in ("encoder", "decoder")
    for key, value in {
        "hidden_dim": 32,
        "intermediate_dim": 64,
        "num_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    }.items()
}
QWEN35 = {
    "head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
SAM3 = {"num_layers": 2, "hidden_dim": 32, "intermediate_dim": 64, "num_heads": 2}

TEXTS = {
    "albert": row("AlbertBackbone", TEXT, embedding_dim=16),
    "bart": row("BartBackbone", TEXT),
    "bert": row("BertBackbone", TEXT),
    "bloom": row("BloomBackbone", TEXT),
    "deberta_v3": row("DebertaV3Backbone", TEXT, bucket_size=8),
    "distil_bert": row("DistilBertBackbone", TEXT),
    "edrec": row(
        "EdRecBackbone",
        vocab_size=VOCABULARY,
        num_layers_enc=2,
        num_layers_dec=2,
        hidden_dim=32,
        intermediate_dim=64,
        num_heads=4,
    ),
    "electra": row("ElectraBackbone", FORM, vocab_size=VOCABULARY, num_heads=4, embedding_dim=16),
    "esm2": row("ESM2Backbone", TEXT, max_sequence_length=64, use_pre_layer_norm=True),
    "falcon": row("FalconBackbone", WORDS, FORM, num_attention_heads=4),
    "f_net": row("FNetBackbone", WORDS, FORM),
    "gemma": row("GemmaBackbone", GROUPED, num_key_value_heads=1, head_dim=8),
    "gemma2": row(
        "GemmaBackbone",
        GROUPED,
        head_dim=8,
        use_post_ffw_norm=True,
        use_post_attention_norm=True,
        attention_logit_soft_cap=50.0,
        final_logit_soft_cap=30.0,
        use_sliding_window_attention=True,
        sliding_window_size=4,
    ),
    "gemma3": row("Gemma3Backbone", GROUPED, head_dim=8, image_size=32),
    "gemma4": row("Gemma4Backbone", GROUPED, head_dim=8, image_size=32, sliding_window_size=4),
    "gpt2": row("GPT2Backbone", TEXT),
    "gpt_neo_x": row("GPTNeoXBackbone", TEXT, rotary_percentage=0.5),
    "gpt_oss": row("GptOssBackbone", EXPERTS, head_dim=8),
    "llama": row("LlamaBackbone", GROUPED),
    "llama3": row("Llama3Backbone", GROUPED),
    "mistral": row("MistralBackbone", GROUPED),
    "mixtral": row("MixtralBackbone", EXPERTS),
    "opt": row("OPTBackbone", TEXT),
    "phi3": row("Phi3Backbone", GROUPED),
    "qwen2": row("QwenBackbone", GROUPED),
    "qwen2_moe": row(
        "QwenMoeBackbone", EXPERTS, moe_intermediate_dim=32, shared_expert_intermediate_dim=32
    ),
    "qwen3": row("Qwen3Backbone", GROUPED, head_dim=8),
    "qwen3_moe": row("Qwen3MoeBackbone", EXPERTS, head_dim=8, moe_intermediate_dim=32),
    "qwen3_5": row("Qwen3_5Backbone", GROUPED, QWEN35),
    "roberta": row("RobertaBackbone", TEXT),
    "roformer_v2": row("RoformerV2Backbone", TEXT, head_size=8),
    "rwkv7": row(
        "RWKV7Backbone",
        WORDS,
        hidden_size=32,
        head_size=8,
        num_layers=2,
        intermediate_dim=64,
        gate_lora=8,
        mv_lora=8,
        aaa_lora=8,
        decay_lora=8,
    ),
    "smollm3": row(
        "SmolLM3Backbone",
        WORDS,
        FORM,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention_bias=False,
        attention_dropout=0.0,
        rope_layer_enabled_list=[True, False],
        layer_types=["full_attention", "full_attention"],
        mlp_bias=False,
        layer_norm_epsilon=1e-6,
        max_position_embeddings=64,
        rope_theta=10000.0,
        partial_rotary_factor=1.0,
    ),
    "t5": row("T5Backbone", TEXT),
    "t5_gemma": row("T5GemmaBackbone", T5GEMMA, sliding_window=4),
    "t5_gemma2": row("T5Gemma2Backbone", T5GEMMA, sliding_window=4),
    "xlm_roberta": row("XLMRobertaBackbone", TEXT),
    "xlnet": row("XLNetBackbone", TEXT),
}

SOUNDS = {
    "moonshine": row(
        "MoonshineBackbone",
        WORDS,
        filter_dim=32,
        hidden_dim=32,
        intermediate_dim=64,
        encoder_num_layers=2,
        decoder_num_layers=2,
        encoder_num_heads=4,
        decoder_num_heads=4,
    ),
    "whisper": row(
        "WhisperBackbone",
        TEXT,
        num_mels=16,
        max_encoder_sequence_length=2 * LENGTH,
        max_decoder_sequence_length=LENGTH,
    ),
}

IMAGES = {
    "resnet": row("ResNetBackbone", IMAGE, RESNET, block_type="basic_block"),
    "csp_darknet": row("CSPNetBackbone", CSP, block_type="dark_block", stage_type="csp"),
    "deit": row("DeiTBackbone", SIGHT),
    "densenet": row("DenseNetBackbone", IMAGE, stackwise_num_repeats=[2, 2, 2], growth_rate=16),
    "dinov2": row("DINOV2Backbone", SIGHT, position_embedding_shape=(32, 32, 3)),
    "dinov3": row("DINOV3Backbone", SIGHT),
    "efficientnet": row("EfficientNetBackbone", EFFICIENTNET, stackwise_block_types=["v1"] * 3),
    "hgnet_v2": row("HGNetV2Backbone", LARGE, HGNET, use_learnable_affine_block=True),
    "mit": MIT,
    "mobilenet": row("MobileNetBackbone", IMAGE, MOBILENET),
    "swin": row(
        "SwinTransformerBackbone",
        IMAGE,
        embed_dim=16,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
        drop_path=0.0,
    ),
    "vgg": row("VGGBackbone", IMAGE, stackwise_num_repeats=[1, 2], stackwise_num_filters=[16, 32]),
    "vit": row(
        "ViTBackbone", IMAGE, num_layers=2, hidden_dim=32, num_heads=4, patch_size=8, mlp_dim=64
    ),
    "vit_det": row(
        "ViTDetBackbone",
        LARGE,
        hidden_size=32,
        num_layers=2,
        intermediate_dim=64,
        num_heads=4,
        global_attention_layer_indices=[1],
        num_output_channels=32,
        window_size=2,
    ),
    "xception": row(
        "XceptionBackbone",
        LARGE,
        stackwise_conv_filters=[[16, 32], [48, 48], [48, 48, 48], [48, 64]],
        stackwise_pooling=[False, True, False, False],
    ),
}

HUB: dict[str, Row] = TEXTS | SOUNDS | IMAGES


@singledispatch
def inputs_of(model: keras.Model, rows: int = 2, seed: int = 0) -> Any:
    """Draw inputs that a backbone accepts, nested as its own inputs are.

    Args:
        model: a built functional backbone, or the name of one in `HUB`.
        rows: how many samples.
        seed: of the random numbers.

    Returns:
        Arrays in the structure of `model.input`; open lengths are `LENGTH`.
    """
    rng = np.random.default_rng(seed)
    audio = any(tensor.name == "encoder_input_values" for tensor in model.inputs)
    return keras.tree.map_structure(lambda t: _drawn(t, rows, rng, audio), model.input)


@inputs_of.register
def _(model: str, rows: int = 2, seed: int = 0) -> Any:
    return inputs_of(HUB[model](), rows, seed)


def _drawn(
    tensor: keras.KerasTensor, rows: int, rng: np.random.Generator, audio: bool
) -> np.ndarray:
    length = AUDIO_LENGTH if audio and tensor.name.startswith("encoder") else LENGTH
    shape = (rows, *(side or length for side in tensor.shape[1:]))
    if "mask" in tensor.name or tensor.dtype == "bool":
        return np.ones(shape, tensor.dtype)
    if "segment" in tensor.name:
        return rng.integers(0, 2, shape).astype(tensor.dtype)
    if "position" in tensor.name:
        return np.broadcast_to(np.arange(shape[1], dtype=tensor.dtype), shape)
    if "int" in tensor.dtype:
        return rng.integers(1, VOCABULARY, shape).astype(tensor.dtype)
    return rng.uniform(0, 1, shape).astype(tensor.dtype)
