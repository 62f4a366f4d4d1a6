"""What a person sees and clicks: panels that launch, show and steer runs in a notebook."""
