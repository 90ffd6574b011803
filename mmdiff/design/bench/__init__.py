"""How long solver, sampler, design loop and dataset take, beside other packages."""
