//! A FLUX.1-Fill pipeline of our own on candle; the only place that names candle.
