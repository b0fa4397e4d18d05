"""What the recipes share that leave out blocks image by image: settings, controls, timing and test, the result."""
