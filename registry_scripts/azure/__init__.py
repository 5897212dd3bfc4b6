"""What Azure is told: the queries of the alert rules, and how each rule carries its query out."""
