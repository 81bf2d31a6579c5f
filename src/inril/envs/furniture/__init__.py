"""FurnitureBench's assembly tasks in MuJoCo, from primitives alone: scenes as data, one compiled loop for all."""
