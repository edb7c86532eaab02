"""Label validation: rules over labels, versions with edited labels, and other tools' formats."""
