"""The main job: data and needs to verdict."""
