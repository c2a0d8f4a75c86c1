"""Where models come from: hubs, package registries, files. Each is downloaded, checked and stored."""
