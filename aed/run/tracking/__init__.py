"""What a run tells MLflow and TensorBoard: curves while it trains, all results once nobody waits for them."""
