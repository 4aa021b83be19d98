"""Fixed points in pure JAX: solvers, gradients and regularisers."""
