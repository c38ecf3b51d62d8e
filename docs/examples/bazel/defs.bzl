"""Reference values of a confidential guest as a build target."""

def guest_reference_values(name, manifest, inputs, published = None, sevbuild = "//tools:sevbuild", **kwargs):
    """Measures a guest, and writes its reference values to NAME.reference-values.json.

    Args:
      name: the name of the target.
      manifest: the label of guest.toml.
      inputs: labels by key of the manifest, such as "kernel.path"; each takes the place of the path there.
      published: the label of published reference values; the build fails where the guest is another.
      sevbuild: the label of the program.
      **kwargs: what every rule takes, such as visibility.
    """
    settings = [
        # Paths of a manifest begin at its folder; the sandbox's own paths are absolute.
        "--set %s=\"$$PWD/$(execpath %s)\"" % (key, inputs[key])
        for key in sorted(inputs)
    ]
    expect = ["--expect $(execpath %s)" % published] if published else []
    command = ["$(execpath %s) measure --format json" % sevbuild] + settings + expect
    native.genrule(
        name = name,
        # A file may serve more than one key, and stands in srcs once.
        srcs = {label: None for label in [manifest] + inputs.values() + ([published] if published else [])}.keys(),
        outs = [name + ".reference-values.json"],
        cmd = " ".join(command + ["$(execpath %s)" % manifest, "> $@"]),
        tools = [sevbuild],
        **kwargs
    )
