"""The network: encoder, recurrent state space model, decoder, objective."""
