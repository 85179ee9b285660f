"""They join the layers below: claim, load, decide, save, wake."""
