"""The latent autoencoder of Stable Diffusion."""
