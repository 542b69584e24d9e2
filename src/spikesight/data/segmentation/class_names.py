"""Names and colours of the classes of public data sets."""

from __future__ import annotations

from spikesight.data.segmentation.scene import ClassTable

# Each class with its red, green and blue.
_CAMVID = """
sky 128 128 128, building 128 0 0, pole 192 192 128, road 128 64 128, pavement 60 40 222,
tree 128 128 0, sign 192 128 128, fence 64 64 128, car 64 0 128, pedestrian 64 64 0,
bicyclist 0 128 192
"""

_CITYSCAPES = """
road 128 64 128, sidewalk 244 35 232, building 70 70 70, wall 102 102 156, fence 190 153 153,
pole 153 153 153, traffic light 250 170 30, traffic sign 220 220 0, vegetation 107 142 35,
terrain 152 251 152, sky 70 130 180, person 220 20 60, rider 255 0 0, car 0 0 142, truck 0 0 70,
bus 0 60 100, train 0 80 100, motorcycle 0 0 230, bicycle 119 11 32
"""

_VOC = """
background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog,
horse, motorbike, person, pottedplant, sheep, sofa, train, tvmonitor
"""

_ADE20K = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person,
earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea,
mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion,
base, box, column, signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace,
refrigerator, grandstand, path, stairs, runway, case, pool table, pillow, screen door, stairway,
river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench, countertop, stove,
palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel, bus, towel, light,
truck, tower, chandelier, awning, streetlight, booth, television receiver, airplane, dirt track,
apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship,
fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall,
tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal,
bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,
ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag
"""


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _table(text: str) -> ClassTable:
    rows = [entry.rsplit(maxsplit=3) for entry in text.split(",")]
    colours = tuple((int(red), int(green), int(blue)) for _, red, green, blue in rows)
    return ClassTable(tuple(name.strip() for name, *_ in rows), colours)


VOC_NAMES = _listed(_VOC)
OXFORD_PET_NAMES = ("pet", "background")
ADE20K_NAMES = _listed(_ADE20K)
CAMVID = _table(_CAMVID)
CITYSCAPES = _table(_CITYSCAPES)
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Label id of each of the 19 train ids."""
