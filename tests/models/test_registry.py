"""Exact size of each network."""

import jax.numpy as jnp
import pytest

from get_jax.errors import UsageError
from get_jax.models import create_model
from get_jax.models.counting import ModelSize, model_size
from get_jax.models.registry import FAMILIES, names

# Parameters, entries of the position table, multiply-adds of one sample (GET:
# six iterations), all with the registry's defaults.
SIZES = {
  "DiT-S/2": ModelSize(32_865_056, 98_304, 6_055_673_856),
  "DiT-S/4": ModelSize(32_920_448, 24_576, 1_412_579_328),
  "DiT-S/8": ModelSize(33_142_016, 6_144, 357_974_016),
  "DiT-B/2": ModelSize(130_315_808, 196_608, 23_005_102_080),
  "DiT-B/4": ModelSize(130_426_496, 49_152, 5_565_186_048),
  "DiT-B/8": ModelSize(130_869_248, 12_288, 1_417_543_680),
  "DiT-L/2": ModelSize(457_840_672, 262_144, 80_697_622_528),
  "DiT-L/4": ModelSize(457_988_224, 65_536, 19_695_665_152),
  "DiT-L/8": ModelSize(458_578_432, 16_384, 5_011_406_848),
  "DiT-XL/2": ModelSize(674_834_720, 294_912, 118_621_421_568),
  "DiT-XL/4": ModelSize(675_000_704, 73_728, 29_043_671_040),
  "DiT-XL/8": ModelSize(675_664_640, 18_432, 7_392_411_648),
  "MF-S/2": ModelSize(33_105_424, 98_304, 6_054_346_752),
  "MF-S/4": ModelSize(33_142_336, 24_576, 1_411_252_224),
  "MF-S/8": ModelSize(33_289_984, 6_144, 356_646_912),
  "MF-B/2": ModelSize(131_091_472, 196_608, 23_002_742_784),
  "MF-B/4": ModelSize(131_165_248, 49_152, 5_562_826_752),
  "MF-B/8": ModelSize(131_460_352, 12_288, 1_415_184_384),
  "MF-M/2": ModelSize(308_019_216, 262_144, 53_800_861_696),
  "MF-M/4": ModelSize(308_117_568, 65_536, 13_132_890_112),
  "MF-M/8": ModelSize(308_510_976, 16_384, 3_343_384_576),
  "MF-L/2": ModelSize(459_137_040, 262_144, 80_694_738_944),
  "MF-L/4": ModelSize(459_235_392, 65_536, 19_692_781_568),
  "MF-L/8": ModelSize(459_628_800, 16_384, 5_008_523_264),
  "MF-XL/2": ModelSize(676_440_592, 294_912, 118_618_324_992),
  "MF-XL/4": ModelSize(676_551_232, 73_728, 29_040_574_464),
  "MF-XL/8": ModelSize(676_993_792, 18_432, 7_389_315_072),
  "iMF-B/2": ModelSize(145_596_960, 0, 24_855_478_272),
  "iMF-M/2": ModelSize(230_570_016, 0, 49_701_519_360),
  "iMF-L/2": ModelSize(509_752_352, 0, 116_120_092_672),
  "iMF-XL/2": ModelSize(711_113_760, 0, 174_173_323_264),
  "DiffiT-256": ModelSize(561_035_232, 294_912, 118_507_290_624),
  "DiffiT-512": ModelSize(562_382_816, 1_179_648, 524_424_167_424),
  "DiffiT-256-depth30": ModelSize(600_906_752, 294_912, 126_970_970_112),
  "DiffiT-512-depth30": ModelSize(602_350_592, 1_179_648, 561_878_876_160),
  "DiffiT-CIFAR-10": ModelSize(28_095_363, 0, 6_978_339_968),
  "DiffiT-CIFAR-10-I.1": ModelSize(15_281_987, 0, 3_954_246_784),
  "DiffiT-FFHQ-64": ModelSize(43_630_275, 0, 30_551_639_168),
  "DiffiT-FFHQ-64-I.1": ModelSize(22_618_203, 0, 14_293_599_360),
  "U-ViT-S/2": ModelSize(44_255_328, 0, 12_200_802_304),
  "U-ViT-S/4": ModelSize(44_292_228, 0, 12_210_488_320),
  "U-ViT-M/4": ModelSize(130_940_292, 0, 35_235_735_552),
  "U-ViT-L/4": ModelSize(286_827_652, 0, 76_473_151_488),
  "U-ViT-L/2": ModelSize(286_763_172, 0, 76_456_189_952),
  "U-ViT-H/2": ModelSize(500_832_016, 0, 133_196_682_240),
  "U-ViT-L/4-512": ModelSize(286_861_524, 0, 76_481_798_144),
  "U-ViT-H/4": ModelSize(500_942_656, 0, 133_224_993_792),
  "U-ViT-S/2-COCO": ModelSize(44_692_644, 0, 16_229_076_992),
  "U-ViT-S/2-COCO-deep": ModelSize(58_345_636, 0, 21_238_927_360),
  "ViT-S/2": ModelSize(21_303_948, 98_304, 6_042_157_056),
  "ViT-S/4": ModelSize(21_331_632, 24_576, 1_399_062_528),
  "ViT-S/8": ModelSize(21_442_368, 6_144, 344_457_216),
  "ViT-B/2": ModelSize(85_075_212, 196_608, 22_955_950_080),
  "ViT-B/4": ModelSize(85_130_544, 49_152, 5_516_034_048),
  "ViT-B/8": ModelSize(85_351_872, 12_288, 1_368_391_680),
  "ViT-L/2": ModelSize(302_337_036, 262_144, 80_536_928_256),
  "ViT-L/4": ModelSize(302_410_800, 65_536, 19_534_970_880),
  "ViT-L/8": ModelSize(302_705_856, 16_384, 4_850_712_576),
  "ViT-XL/2": ModelSize(446_357_388, 294_912, 118_387_113_984),
  "ViT-XL/4": ModelSize(446_440_368, 73_728, 28_809_363_456),
  "ViT-XL/8": ModelSize(446_772_288, 18_432, 7_158_104_064),
  "GET-T/2": ModelSize(8_492_556, 65_536, 6_997_671_936),
  "GET-M/2": ModelSize(19_079_436, 98_304, 15_139_602_432),
  "GET-S/2": ModelSize(37_042_188, 131_072, 31_208_767_488),
  "GET-B/2": ModelSize(62_010_636, 196_608, 81_189_666_816),
  "GET-B+/2": ModelSize(83_285_004, 196_608, 69_009_408_000),
  "DDPM++-32": ModelSize(55_733_891, 0, 21_190_214_784),
  "DDPM++-64": ModelSize(61_805_571, 0, 41_861_448_832),
  "NCSN++-32": ModelSize(56_397_827, 128, 21_403_792_640),
  "NCSN++-64": ModelSize(62_761_091, 128, 42_462_854_912),
  "ADM-64": ModelSize(295_899_267, 0, 109_657_552_896),
}


def test_every_name_is_listed():
  assert set(SIZES) == set(names())


@pytest.mark.parametrize("name", SIZES)
def test_exact_size(name):
  assert model_size(create_model(name)) == SIZES[name]


def test_fields_can_be_overridden():
  model = create_model("DiT-XL/2", image_size=512, dtype=jnp.bfloat16, depth=3)
  assert (model.input_size, model.depth) == (64, 3)
  assert model.dtype == jnp.bfloat16
  assert create_model("DiT", image_size=(16, 8)).input_size == (2, 1)
  assert create_model("DiT-S/2", input_size=8).input_size == 8


@pytest.mark.parametrize(
  ("name", "fields", "message"),
  [
    ("DiT-XL/3", {}, "model 'DiT-XL/3' does not exist; did you mean 'DiT-XL/"),
    ("nonsense", {}, "model 'nonsense' does not exist; expected one of: DiT, "),
    ("DiT-S/2", dict(hiden_size=1), "'hiden_size'; did you mean 'hidden_size'"),
    ("DiT-S/2", dict(dtype="bf16"), "dtype is 'bf16'; expected one of: float3"),
    ("DiT-S/2", dict(dtype="int8"), "dtype is 'int8'; expected one of: float3"),
    ("DiT-S/2", dict(image_size=100), "image_size is 100; .*downsample=8"),
  ],
)
def test_wrong_names_and_fields(name, fields, message):
  with pytest.raises(UsageError, match=message):
    create_model(name, **fields)


def test_a_family_name_gives_its_module():
  for name, family in FAMILIES.items():
    assert isinstance(create_model(name), family.module)
