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
OPEN = {"vision_indices": 4, "masks": 16, "boxes": 2}  # where another length than LENGTH is due
AUDIO_LENGTH = 4000  # a stem of total stride 384 makes nine steps of it


@dataclass(frozen=True)
class Row:
    """A class of KerasHub and its arguments; an argument that is a row is built first."""

    kind: str
    config: dict[str, Any] = field(default_factory=dict)

    def __call__(self) -> Any:
        """Build a fresh one, a model or a part of one."""
        import keras_hub
        from keras_hub.src.models.vae import vae_backbone  # exported nowhere

        homes = (keras_hub.models, keras_hub.layers, vae_backbone)
        kind = next(getattr(home, self.kind) for home in homes if hasattr(home, self.kind))
        return kind(**{k: v() if isinstance(v, Row) else v for k, v in self.config.items()})


def row(kind: str, *bases: dict[str, Any], **own: Any) -> Row:
    """State a row; a later base goes before an earlier one, and `own` before all."""
    config: dict[str, Any] = {}
    for base in (*bases, own):
        config |= base
    return Row(kind, config)


# The tables are set by hand: one argument a line would be four pages of them.
# fmt: off
WORDS = {"vocabulary_size": VOCABULARY}
FORM = {"num_layers": 2, "hidden_dim": 32, "intermediate_dim": 64}
BODY = FORM | {"num_heads": 4}
TEXT = WORDS | BODY
GROUPED = WORDS | FORM | {"num_query_heads": 4, "num_key_value_heads": 2}
EXPERTS = GROUPED | {"num_experts": 4, "top_k": 2}
NARROW = GROUPED | {"head_dim": 8}
READER = TEXT | {"embedding_dim": 32, "max_sequence_length": LENGTH}
SEQ2SEQ = WORDS | {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in
    {"hidden_dim": 32, "intermediate_dim": 64, "num_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8,
    "layer_types": ["sliding_attention", "full_attention"]}.items()}
LINEAR = {"head_dim": 16, "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8}

TEXTS = {
    "albert": row("AlbertBackbone", TEXT, embedding_dim=16),
    "bart": row("BartBackbone", TEXT),
    "bert": row("BertBackbone", TEXT),
    "bloom": row("BloomBackbone", TEXT),
    "clip_text": row("CLIPTextEncoder", READER),
    "deberta_v3": row("DebertaV3Backbone", TEXT, bucket_size=8),
    "distil_bert": row("DistilBertBackbone", TEXT),
    "edrec": row("EdRecBackbone", vocab_size=VOCABULARY, num_layers_enc=2, num_layers_dec=2,
        hidden_dim=32, intermediate_dim=64, num_heads=4),
    "electra": row("ElectraBackbone", BODY, vocab_size=VOCABULARY, embedding_dim=16),
    "esm2": row("ESM2Backbone", TEXT, max_sequence_length=64, use_pre_layer_norm=True),
    "f_net": row("FNetBackbone", WORDS, FORM),
    "falcon": row("FalconBackbone", WORDS, FORM, num_attention_heads=4),
    "gemma": row("GemmaBackbone", NARROW, num_key_value_heads=1),
    "gemma2": row("GemmaBackbone", NARROW, use_post_ffw_norm=True, use_post_attention_norm=True,
        attention_logit_soft_cap=50.0, final_logit_soft_cap=30.0, use_sliding_window_attention=True,
        sliding_window_size=4),
    "gemma3": row("Gemma3Backbone", NARROW, image_size=32),
    "gemma3n": row("Gemma3nBackbone", text_vocab_size=VOCABULARY,
        vocab_size_per_layer_input=VOCABULARY, text_hidden_size=32, num_hidden_layers=2,
        intermediate_size=[64, 64], num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        pad_token_id=0, layer_types=["sliding_attention", "full_attention"], sliding_window=4,
        rope_theta=10000.0, max_position_embeddings=16, laurel_rank=8,
        hidden_size_per_layer_input=8, altup_num_inputs=2, hidden_activation="gelu_approximate"),
    "gemma4": row("Gemma4Backbone", NARROW, image_size=32, sliding_window_size=4),
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
    "qwen2_moe": row("QwenMoeBackbone", EXPERTS, moe_intermediate_dim=32,
        shared_expert_intermediate_dim=32),
    "qwen3": row("Qwen3Backbone", NARROW),
    "qwen3_moe": row("Qwen3MoeBackbone", EXPERTS, head_dim=8, moe_intermediate_dim=32),
    "qwen3_5": row("Qwen3_5Backbone", GROUPED, LINEAR),
    "qwen3_5_moe": row("Qwen3_5MoeBackbone",
        {key: value for key, value in EXPERTS.items() if key != "intermediate_dim"}, LINEAR,
        moe_intermediate_dim=32, shared_expert_intermediate_size=32),
    "roberta": row("RobertaBackbone", TEXT),
    "roformer_v2": row("RoformerV2Backbone", TEXT, head_size=8),
    "rwkv7": row("RWKV7Backbone", WORDS, hidden_size=32, head_size=8, num_layers=2,
        intermediate_dim=64, gate_lora=8, mv_lora=8, aaa_lora=8, decay_lora=8),
    "smollm3": row("SmolLM3Backbone", WORDS | FORM, num_attention_heads=4, num_key_value_heads=2,
        layer_types=["full_attention"] * 2, attention_bias=False, attention_dropout=0.0,
        mlp_bias=False, rope_layer_enabled_list=[True, False], rope_theta=10000.0,
        partial_rotary_factor=1.0, layer_norm_epsilon=1e-06, max_position_embeddings=64),
    "t5": row("T5Backbone", TEXT),
    "t5_gemma": row("T5GemmaBackbone", SEQ2SEQ, sliding_window=4),
    "t5_gemma2": row("T5Gemma2Backbone", SEQ2SEQ, sliding_window=4),
    "xlm_roberta": row("XLMRobertaBackbone", TEXT),
    "xlnet": row("XLNetBackbone", TEXT),
}

SOUNDS = {
    "moonshine": row("MoonshineBackbone", WORDS, filter_dim=32, hidden_dim=32, intermediate_dim=64,
        encoder_num_layers=2, decoder_num_layers=2, encoder_num_heads=4, decoder_num_heads=4),
    "whisper": row("WhisperBackbone", TEXT, num_mels=16, max_encoder_sequence_length=24,
        max_decoder_sequence_length=LENGTH),
}

IMAGE = {"image_shape": (32, 32, 3)}
LARGE = {"image_shape": (64, 64, 3)}
SIGHT = BODY | IMAGE | {"patch_size": 8}
PATCHES = BODY | {"image_size": 32, "patch_size": 8}
RESNET = IMAGE | {"input_conv_filters": [64], "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 32, 32], "stackwise_num_blocks": [1, 1, 1],
    "stackwise_num_strides": [1, 2, 2]}
PYRAMID = {"image_shape": (None, None, 3), "stackwise_num_filters": [64, 32, 32, 32],
    "stackwise_num_blocks": [1, 1, 1, 1], "stackwise_num_strides": [1, 2, 2, 2]}
CSP = LARGE | {"stem_filters": 16, "stem_kernel_size": 3, "stem_strides": 1,
    "stackwise_depth": [1, 2], "stackwise_strides": [2, 2], "stackwise_num_filters": [32, 32],
    "bottle_ratio": [0.5], "block_ratio": [0.5]}
EFFICIENT = {"stackwise_kernel_sizes": [3, 3, 5], "stackwise_num_repeats": [1, 2, 2],
    "stackwise_input_filters": [16, 16, 24], "stackwise_output_filters": [16, 24, 32],
    "stackwise_expansion_ratios": [1, 4, 4],
    "stackwise_squeeze_and_excite_ratios": [0.25, 0.25, 0.25], "stackwise_strides": [1, 2, 2],
    "stackwise_force_input_filters": [0, 0, 0], "stackwise_nores_option": [False, False, False],
    "stackwise_width_coefficients": [1.0, 1.0, 1.0],
    "stackwise_depth_coefficients": [1.0, 1.0, 1.0], "stackwise_block_types": ["v1", "v1", "v1"],
    "dropout": 0.0, "input_shape": (32, 32, 3)}
HGNET = {"depths": [1, 1, 1, 1], "embedding_size": 16, "hidden_sizes": [32, 32, 48, 64],
    "stem_channels": [3, 16, 16], "hidden_act": "relu",
    "stackwise_stage_filters": [[16, 16, 32, 1, 2, 3], [32, 16, 32, 1, 2, 3], [32, 32, 48, 1, 2, 5],
    [48, 32, 64, 1, 2, 5]], "apply_downsample": [False, True, True, True],
    "use_lightweight_conv_block": [False, False, True, True], "use_learnable_affine_block": True,
    "out_features": ["stage3", "stage4"]}

IMAGES = {
    "blip2_vision": row("BLIP2VisionEncoder", PATCHES, use_patch_bias=True, use_class_token=True,
        use_mha_bias=True, use_mlp_bias=True, dropout_rate=0.0, layer_norm_epsilon=1e-06,
        initializer_range=0.02),
    "clip_vision": row("CLIPVisionEncoder", SIGHT),
    "csp_darknet": row("CSPNetBackbone", CSP, block_type="dark_block", stage_type="csp"),
    "csp_edge": row("CSPNetBackbone", CSP, block_type="edge_block", stage_type="cs3"),
    "deit": row("DeiTBackbone", SIGHT),
    "densenet": row("DenseNetBackbone", IMAGE, stackwise_num_repeats=[2, 2, 2], growth_rate=16),
    "dinov2": row("DINOV2Backbone", SIGHT, position_embedding_shape=(32, 32, 3)),
    "dinov2_swiglu": row("DINOV2Backbone", SIGHT, use_swiglu_ffn=True,
        position_embedding_shape=(32, 32, 3)),
    "dinov3": row("DINOV3Backbone", SIGHT),
    "efficientnet": row("EfficientNetBackbone", EFFICIENT),
    "efficientnet_v2": row("EfficientNetBackbone", EFFICIENT,
        stackwise_block_types=["fused", "fused", "unfused"]),
    "gemma3_vision": row("Gemma3VisionEncoder", PATCHES, output_dim=32, pool_size=2),
    "hgnet_v2": row("HGNetV2Backbone", LARGE, HGNET),
    "mit": row("MiTBackbone", LARGE, num_layers=3, hidden_dims=[16, 32, 48],
        layerwise_depths=[1, 1, 1], layerwise_num_heads=[2, 2, 4], layerwise_sr_ratios=[4, 2, 1],
        layerwise_patch_sizes=[7, 3, 3], layerwise_strides=[4, 2, 2], max_drop_path_rate=0.0),
    "mobilenet": row("MobileNetBackbone", IMAGE, stackwise_expansion=[[32, 48], [48, 64]],
        stackwise_num_blocks=[2, 2], stackwise_num_filters=[[16, 16], [32, 32]],
        stackwise_kernel_size=[[3, 3], [5, 5]], stackwise_num_strides=[[2, 1], [2, 1]],
        stackwise_padding=[[1, 1], [2, 2]], stackwise_se_ratio=[[None, None], [0.25, 0.25]],
        squeeze_and_excite=0.5, stackwise_activation=[["relu", "relu"],
        ["hard_swish", "hard_swish"]], output_num_filters=64, depthwise_filters=16,
        depthwise_stride=2, depthwise_residual=False, last_layer_filter=True),
    "mobilenet_v5": row("MobileNetV5Backbone", IMAGE,
        {f"stackwise_dw_{end}_kernel_sizes": [[0], [0, 0]] for end in ("start", "end")},
        stackwise_block_types=[["er"], ["uir", "mqa"]], stackwise_num_blocks=[1, 2],
        stackwise_num_filters=[[24], [32, 32]], stackwise_strides=[[2], [2, 1]],
        stackwise_exp_ratios=[[4.0], [4.0, 4.0]], stackwise_se_ratios=[[0.0], [0.0, 0.0]],
        stackwise_dw_kernel_sizes=[[0], [5, 3]], stackwise_exp_kernel_sizes=[[3], [0, 0]],
        stackwise_pw_kernel_sizes=[[1], [0, 0]], stackwise_num_heads=[[0], [0, 4]],
        stackwise_kv_strides=[[0], [0, 1]], stackwise_key_dims=[[0], [0, 8]],
        stackwise_value_dims=[[0], [0, 8]], stackwise_use_cpe=[[False], [False, False]],
        use_msfa=False, stackwise_act_layers=[["relu"], ["relu", "relu"]]),
    "resnet": row("ResNetBackbone", RESNET, block_type="basic_block"),
    "resnet_bottleneck": row("ResNetBackbone", RESNET, block_type="bottleneck_block"),
    "resnet_v2": row("ResNetBackbone", RESNET, block_type="basic_block", use_pre_activation=True),
    "resnet_vd": row("ResNetBackbone", RESNET, input_conv_filters=[16, 16, 64],
        input_conv_kernel_sizes=[3, 3, 3], block_type="bottleneck_block_vd"),
    "swin": row("SwinTransformerBackbone", IMAGE, embed_dim=16, depths=[2, 2], num_heads=[2, 4],
        window_size=4, drop_path=0),
    "vgg": row("VGGBackbone", IMAGE, stackwise_num_repeats=[1, 2], stackwise_num_filters=[16, 32]),
    "video_prism": row("VideoPrismBackbone",
        {key: value for key, value in SIGHT.items() if key != "num_layers"}, num_frames=4,
        num_spatial_layers=2, num_temporal_layers=1, num_auxiliary_layers=0),
    "vit": row("ViTBackbone", IMAGE, num_layers=2, hidden_dim=32, num_heads=4, patch_size=8,
        mlp_dim=64),
    "vit_det": row("ViTDetBackbone", LARGE, hidden_size=32, num_layers=2, intermediate_dim=64,
        num_heads=4, global_attention_layer_indices=[1], num_output_channels=32, window_size=2),
    "xception": row("XceptionBackbone", LARGE, stackwise_conv_filters=[[16, 32],
        [48, 48], [48, 48, 48], [48, 64]], stackwise_pooling=[False, True, False, False]),
}

BACKBONE = row("ResNetBackbone", RESNET, PYRAMID, block_type="basic_block")
VAE = {f"{side}_num_filters": [32] * 4 for side in ("encoder", "decoder")}
VAE |= {f"{side}_num_blocks": [1] * 4 for side in ("encoder", "decoder")}
PROMPT = {"hidden_size": 32, "image_embedding_size": (4, 4), "input_image_size": (64, 64)}
SEEN = {"vision_dim": 32, "num_query_tokens": 4, "cross_attention_frequency": 2}

COMPOSITES = {
    "blip2": row("BLIP2Backbone", vision_encoder=IMAGES["blip2_vision"], qformer=row("BLIP2QFormer",
        BODY, SEEN, dropout=0.0, layer_norm_epsilon=1e-06), language_model=row("BLIP2CustomOPT",
        TEXT, num_query_tokens=4, qformer_hidden_dim=32, dropout=0.0, max_sequence_length=64)),
    "clip": row("CLIPBackbone", vision_encoder=IMAGES["clip_vision"],
        text_encoder=TEXTS["clip_text"], projection_dim=32),
    "d_fine": row("DFineBackbone", LARGE, decoder_in_channels=[32, 32], encoder_hidden_dim=32,
        hidden_dim=32, num_labels=8, num_denoising=0, learn_initial_query=False, num_queries=10,
        anchor_image_size=(64, 64), feat_strides=[16, 32], num_feature_levels=2,
        encoder_in_channels=[48, 64], encode_proj_layers=[1], num_attention_heads=4,
        encoder_ffn_dim=64, num_encoder_layers=1, hidden_expansion=0.5, eval_idx=-1,
        depth_multiplier=0.5, num_decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=64,
        decoder_n_points=[2, 2], num_lqe_layers=2, seed=0, lqe_hidden_dim=16,
        out_features=["stage3", "stage4"], backbone=row("HGNetV2Backbone", HGNET)),
    "deeplab_v3": row("DeepLabV3Backbone", LARGE, low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P5", upsampling_size=8, dilation_rates=[1, 2],
        projection_filters=16, image_encoder=BACKBONE),
    "depth_anything": row("DepthAnythingBackbone", reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_dims=[16, 16, 32, 32], fusion_hidden_dim=32, head_hidden_dim=16,
        head_in_index=-1, feature_keys=["stage1", "stage2", "stage3", "stage4"],
        image_encoder=row("DINOV2Backbone", SIGHT, LARGE, num_layers=4,
        position_embedding_shape=(64, 64, 3))),
    "flux": row("FluxBackbone", input_channels=16, hidden_size=32, mlp_ratio=2.0, num_heads=2,
        depth=1, depth_single_blocks=1, axes_dim=[4, 6, 6], theta=10000, use_bias=True,
        image_shape=(12, 16), text_shape=(12, 16), y_shape=(16,), image_ids_shape=(12, 3),
        text_ids_shape=(12, 3)),
    "gemma3_seeing": row("Gemma3Backbone", NARROW, image_size=32,
        vision_encoder=IMAGES["gemma3_vision"]),
    "metaclip_2": row("MetaCLIP2Backbone", vision_encoder=row("MetaCLIP2VisionEncoder", SIGHT),
        text_encoder=row("MetaCLIP2TextEncoder", READER), projection_dim=32),
    "pali_gemma": row("PaliGemmaBackbone", NARROW, image_size=32, vit_patch_size=16,
        vit_num_heads=4, vit_hidden_dim=32, vit_num_layers=2, vit_intermediate_dim=64),
    "parseq": row("PARSeqBackbone", WORDS, max_label_length=LENGTH, decoder_hidden_dim=32,
        num_decoder_layers=1, num_decoder_heads=4, decoder_mlp_dim=64, image_encoder=IMAGES["vit"]),
    "retinanet": row("RetinaNetBackbone", LARGE, min_level=3, max_level=6, use_p5=False,
        image_encoder=BACKBONE),
    "sam": row("SAMBackbone", image_encoder=IMAGES["vit_det"],
        prompt_encoder=row("SAMPromptEncoder", PROMPT, mask_in_channels=16),
        mask_decoder=row("SAMMaskDecoder", num_layers=2, hidden_size=32, intermediate_dim=64,
        num_heads=4, embedding_dim=32, num_multimask_outputs=3, iou_head_depth=3,
        iou_head_hidden_dim=32)),
    "segformer": row("SegFormerBackbone", image_encoder=IMAGES["mit"], projection_filters=32),
    "siglip": row("SigLIPBackbone", vision_encoder=row("SigLIPVisionEncoder", SIGHT),
        text_encoder=row("SigLIPTextEncoder", READER)),
    "stable_diffusion_3": row("StableDiffusion3Backbone", LARGE, mmdit_patch_size=2,
        mmdit_hidden_dim=64, mmdit_num_layers=2, mmdit_num_heads=4, mmdit_position_size=8,
        mmdit_qk_norm=None, mmdit_dual_attention_indices=None, latent_channels=4,
        vae=row("VAEBackbone", VAE, sampler_method="mode", sample_channels=8),
        clip_l=row("CLIPTextEncoder", READER, intermediate_output_index=0),
        clip_g=row("CLIPTextEncoder", READER, intermediate_output_index=0)),
}
# fmt: on

HUB: dict[str, Row] = TEXTS | SOUNDS | IMAGES | COMPOSITES


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
    name, kind = tensor.name, tensor.dtype
    length = AUDIO_LENGTH if audio and name.startswith("encoder") else OPEN.get(name, LENGTH)
    shape = [rows, *(side or length for side in tensor.shape[1:])]
    if len(shape) == 5 and tensor.shape[1] is None:
        shape[1] = 1  # one picture, or one mask, a sample
    if "padding" in name or kind == "bool":
        return np.ones(shape, kind)
    if name == "vision_mask":
        return np.broadcast_to(np.arange(shape[1]) < OPEN["vision_indices"], shape).astype(kind)
    if "position" in name or "indices" in name:
        return np.broadcast_to(np.arange(shape[1], dtype=kind), shape).copy()
    if "segment" in name or "labels" in name or name == "response_mask":
        return rng.integers(0, 2, shape).astype(kind)
    if "int" in kind:
        return rng.integers(1, VOCABULARY, shape).astype(kind)
    return rng.uniform(0, 1, shape).astype(kind)
