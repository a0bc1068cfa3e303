"""The commands of ``popbox migrate``, and what they share: options, and reports."""
