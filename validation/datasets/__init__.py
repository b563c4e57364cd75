"""Data sets by name: arrays, CIFAR's archives, folders of images, and what lies in installed packages."""
