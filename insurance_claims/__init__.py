"""The model package: data science only. It knows no platform and no cloud, and is shipped to where steps run."""
