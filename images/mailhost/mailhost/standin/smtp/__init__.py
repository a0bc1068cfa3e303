"""The SMTP side of the stand-in, by qmail-smtpd's rules."""
