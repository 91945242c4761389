"""The method as plain functions: learn the groups, split, finetune, evaluate, compare."""
